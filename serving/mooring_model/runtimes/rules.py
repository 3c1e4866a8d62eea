"""The rules runtime: decision tables and expressions, each answer with the rule that gave it."""

from pathlib import Path

from mooring_model.prediction import Columns, Explained, FloatArray
from mooring_model.rules.analysis import Severity, analyse
from mooring_model.rules.document import HitPolicy, Link, RulesDocument, read_rules, refuse_rules
from mooring_model.rules.errors import RulesInvalid
from mooring_model.rules.firing import FirstRule, SumOfRules
from mooring_model.rules.outcomes import logistic, pair
from mooring_model.rules.table import compile_rules
from mooring_model.schema import Datatype, ModelSchema, OutputSpec, Task

RULE = OutputSpec(name="rule", datatype=Datatype.BYTES)
"""The extra output: the id of the rule that decided, `default` when none did."""


class RulesRuntime:
    """Compiled rules, fed column by column."""

    extras = (RULE,)

    def __init__(self, document: RulesDocument, schema: ModelSchema) -> None:
        """Compiles.

        Raises:
            RulesInvalid: the rules do not fit the schema.
        """
        table = compile_rules(document, schema)
        summed = document.hit_policy is HitPolicy.SUM
        self._rules = SumOfRules(table) if summed else FirstRule(table)
        self._logistic = document.link is Link.LOGISTIC
        self._regression = schema.task is Task.REGRESSION
        positive = schema.positive_class
        self._positive = 1 if positive is None else (schema.classes or ()).index(positive)
        self._first = schema.inputs[0].name

    @classmethod
    def open(cls, path: Path, schema: ModelSchema) -> "RulesRuntime":
        """The rules of a package, checked.

        Raises:
            PackageRefused: SchemaInvalid; they are no rules, do not fit the schema, or hold a rule
                that can never fire.
        """
        document = read_rules(path)
        check_rules(path, document, schema)
        return cls(document, schema)

    def probabilities(self, columns: Columns) -> FloatArray:
        """Probabilities [n, classes]; see `Runtime`."""
        return self.explain(columns).values

    def values(self, columns: Columns) -> FloatArray:
        """Values [n]; see `Runtime`."""
        return self.explain(columns).values

    def explain(self, columns: Columns) -> Explained:
        """Answers, and for each row the rule that decided."""
        fired = self._rules.fire(columns, len(columns[self._first]))
        values = fired.answers
        if self._regression:
            values = values[:, 0]
        elif self._logistic:
            values = pair(logistic(values[:, 0]), self._positive)
        return Explained(values, {RULE.name: fired.rules})


def check_rules(path: Path, document: RulesDocument, schema: ModelSchema) -> None:
    """Refuses rules that do not fit the schema or that can never fire.

    Raises:
        PackageRefused: SchemaInvalid, with the first fault.
    """
    if schema.extras not in ((), (RULE,)):
        raise refuse_rules(path, f"gives no outputs beyond its answer but {RULE.name}")
    try:
        compile_rules(document, schema)
        faults = [
            finding for finding in analyse(document, schema) if finding.severity is Severity.ERROR
        ]
    except RulesInvalid as error:
        raise refuse_rules(path, str(error)) from error
    if faults:
        raise refuse_rules(path, faults[0].message)
