"""Typed reading of plain JSON objects: one place where an untrusted dict becomes values.

Used by the documents of this package only. Every failure raises the caller's own error class
with the path of the field.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from mooring_profile.errors import DocumentInvalid

IntArray = npt.NDArray[np.int64]
E = TypeVar("E", bound=StrEnum)
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fields:
    """A JSON object together with its path and the error to raise about it."""

    values: Mapping[str, object]
    where: str
    error: type[DocumentInvalid]

    @classmethod
    def of(cls, document: object, where: str, error: type[DocumentInvalid]) -> "Fields":
        """Wraps `document`, which must be a JSON object."""
        if not isinstance(document, Mapping):
            raise error(f"{where} is {_describe(document)}; it must be a JSON object")
        return cls(cast("Mapping[str, object]", document), where, error)

    def refuse(self, key: str, value: object, wanted: str) -> DocumentInvalid:
        """Builds the error for one field."""
        return self.error(f"{self.where}.{key} is {_describe(value)}; it must be {wanted}")

    def raw(self, key: str) -> object:
        """Returns a field that must be present."""
        if key not in self.values:
            raise self.error(f"{self.where}.{key} is absent; write the document again")
        return self.values[key]

    def nested(self, key: str) -> "Fields":
        """Returns a field that is a JSON object."""
        return Fields.of(self.raw(key), f"{self.where}.{key}", self.error)

    def objects(self, key: str) -> Iterator["Fields"]:
        """Yields the items of a field that is a list of JSON objects."""
        for index, item in enumerate(self.items(key)):
            yield Fields.of(item, f"{self.where}.{key}[{index}]", self.error)

    def items(self, key: str) -> list[object]:
        """Returns a field that is a list."""
        value = self.raw(key)
        if not isinstance(value, list):
            raise self.refuse(key, value, "a list")
        return cast("list[object]", value)

    def text(self, key: str) -> str:
        """Returns a field that is a string."""
        value = self.raw(key)
        if not isinstance(value, str):
            raise self.refuse(key, value, "a string")
        return value

    def choice(self, key: str, vocabulary: type[E]) -> E:
        """Returns a field that is one word of a closed vocabulary."""
        value = self.text(key)
        for member in vocabulary:
            if member.value == value:
                return member
        words = ", ".join(member.value for member in vocabulary)
        raise self.refuse(key, value, f"one of {words}")

    def texts(self, key: str) -> tuple[str, ...]:
        """Returns a field that is a list of strings."""
        values = self.items(key)
        for value in values:
            if not isinstance(value, str):
                raise self.refuse(key, value, "a list of strings")
        return tuple(cast("list[str]", values))

    def count(self, key: str) -> int:
        """Returns a field that is a whole number >= 0."""
        value = self.raw(key)
        if not _is_count(value):
            raise self.refuse(key, value, "a whole number >= 0")
        return cast("int", value)

    def counts(self, key: str) -> IntArray:
        """Returns a field that is a list of whole numbers >= 0."""
        values = self.items(key)
        for value in values:
            if not _is_count(value):
                raise self.refuse(key, value, "a list of whole numbers >= 0")
        return np.array(values, dtype=np.int64)

    def number(self, key: str) -> float:
        """Returns a field that is a finite number."""
        return self._finite(key, self.raw(key))

    def optional_number(self, key: str) -> float | None:
        """Returns a field that is a finite number or null."""
        value = self.raw(key)
        return None if value is None else self._finite(key, value)

    def numbers(self, key: str) -> tuple[float, ...]:
        """Returns a field that is a list of finite numbers."""
        return tuple(self._finite(key, value) for value in self.items(key))

    def flag(self, key: str) -> bool:
        """Returns a field that is true or false."""
        value = self.raw(key)
        if not isinstance(value, bool):
            raise self.refuse(key, value, "true or false")
        return value

    def matrix(self, key: str) -> tuple[tuple[float, ...], ...]:
        """Returns a field that is a list of lists of finite numbers."""
        rows: list[tuple[float, ...]] = []
        for row in self.items(key):
            if not isinstance(row, list):
                raise self.refuse(key, row, "a list of lists of numbers")
            rows.append(tuple(self._finite(key, value) for value in cast("list[object]", row)))
        return tuple(rows)

    def _finite(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(key, value, "a finite number")
        if not math.isfinite(value):
            raise self.refuse(key, value, "a finite number")
        return float(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _describe(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
