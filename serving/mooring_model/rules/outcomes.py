"""What rules answer, as rows of numbers: constants of a matrix, or expressions over the columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mooring_model.prediction import Columns, FloatArray
from mooring_model.rules.compute import compile_number
from mooring_model.rules.document import Amount, HitPolicy, Link, Outcome, RulesDocument
from mooring_model.rules.errors import RulesInvalid
from mooring_model.rules.nodes import Kind, names_of
from mooring_model.rules.parser import parse
from mooring_model.schema import ModelSchema, Task

_TOLERANCE = 1e-6
"""How far constant probabilities may be from a sum of 1."""


@dataclass(frozen=True, slots=True)
class Formula:
    """An outcome that is computed.

    Attributes:
        names: the features that it reads.
        rows: from columns of n rows to [n, width]; a row that has no answer is not finite.
    """

    names: frozenset[str]
    rows: Callable[[Columns, int], FloatArray]


Answered = FloatArray | Formula
"""A constant [width], or a formula."""


@dataclass(frozen=True)
class OutcomeCompiler:
    """Compiles the outcomes of one document.

    Attributes:
        schema: task and classes; width is 1 for values and points, else the number of classes.
        points: whether outcomes are points of a sum.
        kinds: of every feature.
    """

    schema: ModelSchema
    points: bool
    kinds: Mapping[str, Kind]

    @classmethod
    def of(
        cls, document: RulesDocument, schema: ModelSchema, kinds: Mapping[str, Kind]
    ) -> "OutcomeCompiler":
        """For these rules.

        Raises:
            RulesInvalid: the hit policy and its link do not fit the task.
        """
        points = document.hit_policy is HitPolicy.SUM
        logistic = document.link is Link.LOGISTIC
        if points and (schema.task, logistic) not in (
            (Task.REGRESSION, False),
            (Task.BINARY, True),
        ):
            raise RulesInvalid(
                f"link: a sum of points for a {schema.task} model cannot be {document.link}; "
                "identity is for a regression, logistic for two classes"
            )
        return cls(schema, points, kinds)

    @property
    def width(self) -> int:
        """Numbers of an outcome."""
        return 1 if self.points else max(1, len(self.schema.classes or ()))

    def compile(self, outcome: Outcome) -> Answered:
        """One outcome.

        Raises:
            RulesInvalid: it does not fit the task, or an expression is at fault.
        """
        regression = self.schema.task is Task.REGRESSION
        if self.points:
            return self._amount(self._demand(outcome.points, "points"))
        if regression:
            return self._amount(self._demand(outcome.value, "value"))
        names = [str(name) for name in self.schema.classes or ()]
        if outcome.class_name is not None:
            return np.eye(len(names))[self._place(names, str(outcome.class_name))]
        if outcome.probabilities is not None:
            return self._distribution(names, outcome.probabilities)
        if self.schema.task is not Task.BINARY:
            raise RulesInvalid("then: several classes need class or probabilities")
        amount = self._demand(outcome.probability, "class, probability or probabilities")
        return self._pair(names, amount)

    def _demand(self, amount: Amount | None, wanted: str) -> Amount:
        if amount is None:
            task = "sum of points" if self.points else f"{self.schema.task} model"
            raise RulesInvalid(f"then: the outcome of a {task} is {wanted}")
        return amount

    def _pair(self, names: Sequence[str], amount: Amount) -> Answered:
        positive = names.index(str(self.schema.positive_class))
        answered = self._amount(amount)
        if isinstance(answered, Formula):
            return Formula(answered.names, _paired(answered, positive))
        if not 0 <= answered[0] <= 1:
            raise RulesInvalid(f"then: probability {amount} is not between 0 and 1")
        return pair(answered, positive)[0]

    def _distribution(self, names: Sequence[str], given: Mapping[str, Amount]) -> Answered:
        places = [self._place(names, name) for name in given]
        answered = [self._amount(amount) for amount in given.values()]
        formulas = [item for item in answered if isinstance(item, Formula)]
        if formulas:
            used = frozenset[str]().union(*(formula.names for formula in formulas))
            return Formula(used, _normalised(answered, places, len(names)))
        shares = np.zeros(len(names))
        shares[places] = [float(item[0]) for item in answered if not isinstance(item, Formula)]
        if (shares < 0).any() or abs(float(shares.sum()) - 1) > _TOLERANCE:
            raise RulesInvalid(f"then: probabilities {dict(given)} are no shares that sum up to 1")
        return shares / shares.sum()

    def _place(self, names: Sequence[str], name: str) -> int:
        if name not in names:
            raise RulesInvalid(f"then: {name!r} is none of the classes {', '.join(names[:20])}")
        return names.index(name)

    def _amount(self, amount: Amount) -> Answered:
        """[1], or a formula [n, 1]."""
        if not isinstance(amount, str):
            return np.array([float(amount)])
        node = parse(amount, self.kinds, Kind.NUMBER)
        compute = compile_number(node)
        return Formula(
            frozenset(names_of(node)), lambda columns, rows: compute(columns, rows).reshape(-1, 1)
        )


def logistic(total: FloatArray) -> FloatArray:
    """The probability that belongs to log-odds."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-total))


def pair(positive: FloatArray, place: int) -> FloatArray:
    """Both probabilities [n, 2] from that of the class at `place`."""
    both = [1.0 - positive, positive]
    return np.column_stack(both if place == 1 else both[::-1])


def _paired(formula: Formula, place: int) -> Callable[[Columns, int], FloatArray]:
    def rows(columns: Columns, count: int) -> FloatArray:
        # What lies outside 0 to 1 is the author's way of saying "certain".
        return pair(np.clip(formula.rows(columns, count)[:, 0], 0.0, 1.0), place)

    return rows


def _normalised(
    answered: Sequence[Answered], places: Sequence[int], width: int
) -> Callable[[Columns, int], FloatArray]:
    def rows(columns: Columns, count: int) -> FloatArray:
        shares = np.zeros((count, width))
        for place, item in zip(places, answered, strict=True):
            shares[:, place] = (
                item.rows(columns, count)[:, 0] if isinstance(item, Formula) else item[0]
            )
        shares[(shares < 0).any(axis=1)] = np.nan
        with np.errstate(all="ignore"):
            return shares / shares.sum(axis=1, keepdims=True)

    return rows
