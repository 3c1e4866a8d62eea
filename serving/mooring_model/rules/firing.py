"""Which rules fire for each row, and what they answer.

A value is looked up in its feature's regions, the region knows as bits which rules accept it, and
the rules that fire are the bits that all features leave. Few rows go through whole numbers and
bisection, many through numpy; both give the same answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mooring_model.prediction import Array, Columns, FloatArray
from mooring_model.rules.outcomes import Formula
from mooring_model.rules.regions import Codes
from mooring_model.rules.table import Compiled, Hits

CHUNK_ROWS = 4096
"""Rows at once: the table of rules by rows stays within the processor's cache."""
FEW_ROWS = 8
"""Up to here a row at a time is quicker than numpy's set-up."""
MAX_NAMED = 16
"""Rules of a sum that a row's explanation names."""


@dataclass(frozen=True, slots=True)
class Fired:
    """What rules answer to n rows.

    Attributes:
        answers: [n, width].
        rules: [n], objects of str: the rule that decided, or those that were summed up.
    """

    answers: FloatArray
    rules: Array


class FirstRule:
    """The first rule that fires decides."""

    def __init__(self, table: Compiled) -> None:
        self._table = table

    def fire(self, columns: Columns, rows: int) -> Fired:
        """Answers and rules of n rows."""
        table = self._table
        if rows == 1:
            place = self._place(columns, 0)
            if place not in table.formulas:
                return Fired(table.answers[place : place + 1], table.names[place : place + 1])
            places = np.array([place])
        elif rows <= FEW_ROWS:
            places = np.array([self._place(columns, row) for row in range(rows)])
        else:
            places = self._places(columns, rows)
        answers = table.answers[places]
        if table.formulas:
            self._compute(columns, places, answers)
        return Fired(answers, table.names[places])

    def _place(self, columns: Columns, row: int) -> int:
        table = self._table
        bits = firing_bits(table, columns, row)
        if not table.guards:
            return (bits & -bits).bit_length() - 1 if bits else table.default
        for place in places_of(bits):
            guard = table.guards.get(place)
            if guard is None or guard(_rows(columns, row, row + 1), 1)[0]:
                return place
        return table.default

    def _places(self, columns: Columns, rows: int) -> Codes:
        table = self._table
        places = np.empty(rows, np.intp)
        for start, hits in firing_hits(table, columns, rows):
            first = hits.argmax(axis=1) if table.default else np.zeros(len(hits), np.intp)
            first[~hits.any(axis=1)] = table.default
            places[start : start + len(hits)] = first
        return places

    def _compute(self, columns: Columns, places: Codes, answers: FloatArray) -> None:
        """Fills in formulas; where one has no finite value, the default answers."""
        for place, formula in self._table.formulas.items():
            rows = np.flatnonzero(places == place)
            if rows.size:
                answers[rows] = _evaluate(formula, columns, rows)
        lost = ~np.isfinite(answers).all(axis=1)
        places[lost] = self._table.default
        answers[lost] = self._table.answers[self._table.default]


class SumOfRules:
    """The points of all rules that fire are added up, in the rules' order."""

    def __init__(self, table: Compiled) -> None:
        self._table = table
        self._points: list[float] = table.answers[:, 0].tolist()
        self._names: list[str] = table.names.tolist()

    def fire(self, columns: Columns, rows: int) -> Fired:
        """Totals [n, 1] and rules of n rows."""
        table = self._table
        if rows <= FEW_ROWS and not table.guards and not table.formulas:
            return self._few(columns, rows)
        totals, names = np.zeros((rows, 1)), np.empty(rows, object)
        for start, hits in firing_hits(table, columns, rows):
            end = start + len(hits)
            part = _rows(columns, start, end)
            totals[start:end, 0] = self._totals(hits, part)
            names[start:end] = self._named(hits)
        silent = ~np.isfinite(totals[:, 0]) | (names == self._names[-1])
        totals[silent, 0] = self._points[-1]
        names[silent] = self._names[-1]
        return Fired(totals, names)

    def _few(self, columns: Columns, rows: int) -> Fired:
        totals, names = np.empty((rows, 1)), np.empty(rows, object)
        for row in range(rows):
            places = list(places_of(firing_bits(self._table, columns, row)))
            places = places or [self._table.default]
            total = 0.0
            for place in places:
                total += self._points[place]
            totals[row, 0], names[row] = total, self._listed(places)
        return Fired(totals, names)

    def _totals(self, hits: Hits, columns: Columns) -> FloatArray:
        totals = np.zeros(len(hits))
        for place in range(hits.shape[1]):
            rows = np.flatnonzero(hits[:, place])
            if not rows.size:
                continue
            formula = self._table.formulas.get(place)
            if formula is None:
                totals[rows] += self._points[place]
            else:
                totals[rows] += _evaluate(formula, columns, rows)[:, 0]
        return totals

    def _named(self, hits: Hits) -> Array:
        """For each row the rules that fired; equal rows are worded once."""
        patterns, inverse = np.unique(np.packbits(hits, axis=1), axis=0, return_inverse=True)
        worded = np.empty(len(patterns), object)
        for place, pattern in enumerate(patterns):
            fired = np.flatnonzero(np.unpackbits(pattern, count=hits.shape[1]))
            worded[place] = self._listed(fired.tolist() or [self._table.default])
        return worded[inverse.reshape(-1)]

    def _listed(self, places: list[int]) -> str:
        text = ",".join(self._names[place] for place in places[:MAX_NAMED])
        more = len(places) - MAX_NAMED
        return f"{text},+{more}" if more > 0 else text


def firing_bits(table: Compiled, columns: Columns, row: int) -> int:
    """The rules whose conditions hold for one row, as bits; expressions are not asked."""
    bits = (1 << table.default) - 1
    for plan in table.columns:
        bits &= plan.masks[plan.regions.code(columns[plan.name].item(row))]
        if not bits:
            break
    return bits


def firing_hits(table: Compiled, columns: Columns, rows: int) -> Iterator[tuple[int, Hits]]:
    """Chunks of rows: where each begins, and which rules fire there, [rows, rules]."""
    for start in range(0, rows, CHUNK_ROWS):
        part = _rows(columns, start, min(start + CHUNK_ROWS, rows))
        count = min(CHUNK_ROWS, rows - start)
        hits = np.ones((count, table.default), np.bool_)
        for plan in table.columns:
            hits &= plan.accepted[plan.regions.codes(part[plan.name])]
        for place, guard in table.guards.items():
            hits[:, place] &= guard(part, count)
        yield start, hits


def places_of(bits: int) -> Iterator[int]:
    """The places of the bits that are set, from the lowest."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _evaluate(formula: Formula, columns: Columns, rows: Codes) -> FloatArray:
    return formula.rows({name: columns[name][rows] for name in formula.names}, rows.size)


def _rows(columns: Columns, start: int, end: int) -> Columns:
    return {name: values[start:end] for name, values in columns.items()}
