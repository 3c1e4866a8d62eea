"""Rules that are to be packaged: read, checked against the training table's schema, stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mooring_model.author import author_refused, read_author_file
from mooring_model.errors import PackageRefused
from mooring_model.infer_schema import Classes, Frame, target_classes
from mooring_model.manifest import Format
from mooring_model.prediction import Runtime
from mooring_model.rules.analysis import Finding, analyse
from mooring_model.rules.document import Link, Outcome, Rule, RulesDocument, parse_rules, read_rules
from mooring_model.rules.errors import RulesInvalid
from mooring_model.rules.lexer import TokenKind, tokenize
from mooring_model.runtimes.rules import RULE, RulesRuntime
from mooring_model.schema import ModelSchema, OutputSpec, read_schema


@dataclass(frozen=True)
class RulesSource:
    """What `package` needs of a model, for rules.

    Attributes:
        path: the author's file.
        document: what is in it.
    """

    path: Path
    document: RulesDocument
    estimator: None = None
    extras: Sequence[OutputSpec] = (RULE,)

    @classmethod
    def read(cls, path: Path) -> "RulesSource":
        """The rules of an author's file.

        Raises:
            PackageRefused: SchemaInvalid, naming the rule and the field.
        """
        try:
            return cls(path, parse_rules(read_author_file(path)))
        except RulesInvalid as error:
            raise author_refused(path, str(error)) from error

    def features(self, known: Sequence[str]) -> list[str]:
        """The columns that conditions and expressions name, in the table's order."""
        used: set[str] = set()
        for rule in self.document.rules:
            absent = [name for name in rule.when if name not in known]
            if absent:
                raise author_refused(
                    self.path, f"rule {rule.id}: the table has no column {absent[0]!r}"
                )
            used |= rule.when.keys()
            used |= {name for text in _expressions(rule) for name in self._names(rule, text)}
        found = [name for name in known if name in used]
        if not found:
            raise author_refused(self.path, "the rules name no column of the table")
        return found

    def classes(self, target: Any) -> Classes | None:
        """Those that the document lists, else the training table's labels, sorted."""
        given = self.document.classes
        if given is not None:
            return Classes(given)
        if not self._classifies:
            return None
        return target_classes(
            target, "write value instead of class and probability if it is a number"
        )

    def write(self, folder: Path, schema: ModelSchema, wanted: Format) -> tuple[Format, Runtime]:  # noqa: ARG002 - rules have one format
        """Writes model.rules.json and compiles it."""
        file = folder / Format.RULES.file
        file.write_bytes(self.document.to_bytes())
        try:
            return Format.RULES, RulesRuntime.open(file, schema)
        except PackageRefused as error:
            what = error.message.removeprefix(f"{folder}: {file.name}: ")
            raise author_refused(self.path, what) from error

    def agreement(self, runtime: Runtime, schema: ModelSchema, frame: Frame) -> None:
        """There is no estimator to compare with: the rules are the model."""

    def close(self) -> None:
        """Nothing is open."""

    @property
    def _classifies(self) -> bool:
        default = self.document.default
        numbers = default.value is not None or default.points is not None
        return not numbers or self.document.link is Link.LOGISTIC

    def _names(self, rule: Rule, text: str) -> set[str]:
        try:
            tokens = tokenize(text)
        except RulesInvalid as error:
            raise author_refused(self.path, f"rule {rule.id}: {error}") from error
        names = (TokenKind.NAME, TokenKind.QUOTED)
        return {token.text for token in tokens if token.kind in names}


def notes(directory: Path) -> list[Finding]:
    """What is worth telling of a package's rules: gaps, overlaps, categories nobody knows."""
    path = directory / Format.RULES.file
    return analyse(read_rules(path), read_schema(directory))


def _expressions(rule: Rule) -> list[str]:
    found = [rule.condition] if rule.condition is not None else []
    return found + [amount for amount in _amounts(rule.then) if isinstance(amount, str)]


def _amounts(outcome: Outcome) -> list[object]:
    listed: list[object] = [outcome.probability, outcome.value, outcome.points]
    return listed + list((outcome.probabilities or {}).values())
