"""A document of rules, compiled: for each feature its regions, for each region its rules."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mooring_model.prediction import Array, Columns, FloatArray
from mooring_model.rules.compute import compile_flag
from mooring_model.rules.document import DEFAULT, Cell, HitPolicy, Rule, RulesDocument
from mooring_model.rules.errors import RulesInvalid
from mooring_model.rules.nodes import Kind
from mooring_model.rules.outcomes import Formula, OutcomeCompiler
from mooring_model.rules.parser import parse
from mooring_model.rules.regions import KINDS, Regions, build_regions, pack, unpack
from mooring_model.schema import ModelSchema

Hits = npt.NDArray[np.bool_]
Guard = Callable[[Columns, int], Array]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One feature that rules ask about.

    Attributes:
        name: the feature.
        regions: of its values.
        masks: for each region the rules that accept it, as bits.
        accepted: the same as [regions, rules].
    """

    name: str
    regions: Regions
    masks: tuple[int, ...]
    accepted: Hits


@dataclass(frozen=True, slots=True)
class Compiled:
    """Rules in the order in which they are tried.

    Attributes:
        names: of the rules; the last is `default`.
        columns: the features that conditions ask about.
        guards: by place, the rules that have an expression as a condition.
        answers: [rules + 1, width] constants; rows of formulas hold 0.
        formulas: by place, outcomes that are computed.
    """

    names: Array
    columns: tuple[ColumnPlan, ...]
    guards: Mapping[int, Guard]
    answers: FloatArray
    formulas: Mapping[int, Formula]

    @property
    def default(self) -> int:
        """The place of the default."""
        return len(self.names) - 1


def in_order(document: RulesDocument) -> list[Rule]:
    """The rules in the order in which they are tried: those of a higher priority first."""
    rules = list(document.rules)
    if document.hit_policy is HitPolicy.PRIORITY:
        rules.sort(key=lambda rule: -rule.priority)
    return rules


def regions_of(document: RulesDocument, schema: ModelSchema) -> dict[str, Regions]:
    """The regions of every feature that conditions ask about.

    Raises:
        RulesInvalid: a feature is unknown, or of another type than a condition needs.
    """
    specs = {spec.name: spec for spec in schema.inputs}
    cells: dict[str, list[Cell]] = {}
    for rule in document.rules:
        for name, cell in rule.when.items():
            if name not in specs:
                raise RulesInvalid(f"rule {rule.id}: no feature is called {name!r}")
            cells.setdefault(name, []).append(cell)
    return {name: build_regions(specs[name], found) for name, found in sorted(cells.items())}


def compile_rules(document: RulesDocument, schema: ModelSchema) -> Compiled:
    """Compiles a document for the features and classes of a schema.

    Raises:
        RulesInvalid: naming the rule and what is wrong with it.
    """
    rules = in_order(document)
    kinds = {spec.name: KINDS[spec.datatype] for spec in schema.inputs}
    outcomes = OutcomeCompiler.of(document, schema, kinds)
    answers = np.zeros((len(rules) + 1, outcomes.width))
    formulas: dict[int, Formula] = {}
    guards: dict[int, Guard] = {}
    for place, (name, outcome) in enumerate(
        [*((rule.id, rule.then) for rule in rules), (DEFAULT, document.default)]
    ):
        with _of_rule(name):
            answered = outcomes.compile(outcome)
        if isinstance(answered, Formula):
            formulas[place] = answered
        else:
            answers[place] = answered
    if len(rules) in formulas:
        raise RulesInvalid("default: must be a constant, so that every row has an answer")
    for place, rule in enumerate(rules):
        if rule.condition is not None:
            with _of_rule(rule.id):
                guards[place] = compile_flag(parse(rule.condition, kinds, Kind.FLAG))
    answers.flags.writeable = False
    names = np.array([*(rule.id for rule in rules), DEFAULT], object)
    names.flags.writeable = False
    return Compiled(names, _plans(rules, regions_of(document, schema)), guards, answers, formulas)


def _plans(rules: Sequence[Rule], regions: Mapping[str, Regions]) -> tuple[ColumnPlan, ...]:
    plans: list[ColumnPlan] = []
    for name, cuts in regions.items():
        accepted = np.ones((cuts.size, len(rules)), np.bool_)
        for place, rule in enumerate(rules):
            if name in rule.when:
                accepted[:, place] = unpack(cuts.accepted(rule.when[name]), cuts.size)
        masks = pack(accepted)
        plans.append(ColumnPlan(name, cuts, masks, accepted))
    return tuple(plans)


@contextmanager
def _of_rule(name: str) -> Generator[None]:
    """Names the rule that is at fault."""
    try:
        yield
    except RulesInvalid as error:
        raise RulesInvalid(f"{name if name == DEFAULT else f'rule {name}'}: {error}") from error
