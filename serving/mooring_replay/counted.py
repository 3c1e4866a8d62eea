"""Windows of counts of two arms, one JSON object a line: `mooring compare replay` reads them."""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mooring_profile import CountsInvalid, DocumentInvalid
from mooring_profile.fields import Fields
from mooring_replay.errors import ReplayRefused

EXAMPLE = '{"stable": {"n": 190, "errors": 4}, "candidate": {"n": 10, "errors": 1}}'


@dataclass(frozen=True)
class ArmWindow:
    """One arm in one window.

    Attributes:
        n: requests, >= 0.
        errors: requests of them that failed; None: not told.
        loss_sum: sum of the losses, each in [0, 1], of all n; None: not told.
        loss_squares: sum of their squares; None: not told.
        latency: bounds (ms, rising) and answers by bin, one more than bounds; None: not told.
    """

    n: int
    errors: int | None
    loss_sum: float | None
    loss_squares: float | None
    latency: tuple[tuple[float, ...], tuple[int, ...]] | None = None


@dataclass(frozen=True)
class CountedWindow:
    """Both arms in one window, and the share of the candidate announced for it, if any."""

    stable: ArmWindow
    candidate: ArmWindow
    weight: float | None


def read_windows(path: Path) -> tuple[CountedWindow, ...]:
    """Reads the file, in its order; empty lines are passed over.

    Raises:
        ReplayRefused: it cannot be read, or a line does not serve.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayRefused(
            f"{path} cannot be read: {error}", "give --windows a text file, a window a line"
        ) from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ReplayRefused(f"{path.name} has no windows", f"write lines like {EXAMPLE}")
    windows = tuple(_window(line, f"{path.name} line {number}") for number, line in lines)
    bounds = {
        arm.latency[0]
        for window in windows
        for arm in (window.stable, window.candidate)
        if arm.latency is not None
    }
    if len(bounds) > 1:
        raise ReplayRefused(
            f"{path.name} has latencyMs with {len(bounds)} different lists of bounds",
            "count all windows of both arms by the same bounds",
        )
    return windows


def _window(line: str, where: str) -> CountedWindow:
    try:
        document: object = json.loads(line)
    except ValueError as error:
        raise ReplayRefused(
            f"{where} is not JSON: {error}", f"write one object a line, like {EXAMPLE}"
        ) from error
    try:
        fields = Fields.of(document, where, CountsInvalid)
        weight = fields.optional_number("weight") if "weight" in fields.values else None
        if weight is not None and not 0 < weight < 1:
            raise fields.refuse("weight", weight, "between 0 and 1")
        stable, candidate = _arm(fields.nested("stable")), _arm(fields.nested("candidate"))
    except DocumentInvalid as error:
        raise ReplayRefused(str(error), f"correct {where}; a good line is {EXAMPLE}") from error
    for name, one, other in (
        ("errors", stable.errors, candidate.errors),
        ("sum", stable.loss_sum, candidate.loss_sum),
        ("latencyMs", stable.latency, candidate.latency),
    ):
        if (one is None) != (other is None):
            arm = "stable" if one is None else "candidate"
            raise ReplayRefused(
                f"{where}.{arm}.{name} is absent, but the other arm has it",
                f"give both arms {name}, or neither",
            )
    return CountedWindow(stable, candidate, weight)


def _arm(fields: Fields) -> ArmWindow:
    n = fields.count("n")
    errors = fields.count("errors") if "errors" in fields.values else None
    if errors is not None and errors > n:
        raise fields.refuse("errors", errors, f"at most n, {n}")
    latency = _latency(fields.nested("latencyMs")) if "latencyMs" in fields.values else None
    if {"sum", "squares"} & fields.values.keys():
        return ArmWindow(n, errors, *_losses(fields, n), latency)
    if errors is None and latency is None:
        raise CountsInvalid(
            f"{fields.where} has neither errors, nor sum and squares, nor latencyMs; count one"
        )
    return ArmWindow(n, errors, None, None, latency)


def _losses(fields: Fields, n: int) -> tuple[float, float]:
    total, squares = fields.number("sum"), fields.number("squares")
    if not 0 <= total <= n:
        raise fields.refuse("sum", total, f"within [0, n], n being {n}: clip losses to [0, 1]")
    slack = 1e-9 * (1 + n)
    if not -slack <= squares <= total + slack or total**2 > n * squares + slack * (1 + n):
        raise fields.refuse("squares", squares, "the sum of squares of losses in [0, 1]")
    return total, squares


def _latency(fields: Fields) -> tuple[tuple[float, ...], tuple[int, ...]]:
    bounds, counts = fields.numbers("bounds"), tuple(fields.counts("counts").tolist())
    if not bounds or any(low >= high for low, high in pairwise(bounds)):
        raise fields.refuse("bounds", list(bounds), "rising milliseconds, at least one")
    if len(counts) != len(bounds) + 1:
        raise fields.refuse(
            "counts", list(counts), f"{len(bounds) + 1} counts, one more than bounds"
        )
    return bounds, counts
