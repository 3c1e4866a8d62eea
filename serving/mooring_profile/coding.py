"""Columns of categories as whole numbers: each text once, and which of them every row holds.

Follows the rules of `binning` (`category_text`): None and NaN are missing, a value that has no
text is invalid.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np

from mooring_profile.binning import Column, category_text, is_nan
from mooring_profile.fields import IntArray

MISSING, INVALID, FIRST = 0, 1, 2
"""Codes of rows without a category, and that of the first text."""
_PLAIN = frozenset({str, bytes, float, type(None)})
"""Types of which no two values are equal and yet have different texts."""


@dataclass(frozen=True, eq=False)
class CodedColumn:
    """A column of categories.

    Attributes:
        codes: int64 [rows], `MISSING`, `INVALID`, or `FIRST` + position in `texts`.
        texts: each category once.
    """

    codes: IntArray
    texts: list[str]

    def of(self, rows: IntArray) -> "CodedColumn":
        """Returns some of the rows."""
        return CodedColumn(self.codes[rows], self.texts)

    @property
    def counts(self) -> IntArray:
        """Rows of each text, int64 [texts]."""
        return np.bincount(self.codes, minlength=FIRST + len(self.texts))[FIRST:]


def code_column(column: Column) -> CodedColumn:
    """Codes a column [rows]."""
    if column.dtype.kind in "iubf":
        unique, inverse = np.unique(column, return_inverse=True)
        of_value, texts = _codes(unique.tolist())
        return CodedColumn(of_value[inverse], texts)
    values = cast("list[object]", column.tolist())
    if {type(value) for value in values} <= _PLAIN:
        distinct = list(set(values))
        of_value, texts = _codes(distinct)
        position = dict(zip(distinct, of_value.tolist(), strict=True))
        return CodedColumn(np.array([position[value] for value in values], dtype=np.int64), texts)
    return CodedColumn(*_codes(values))


def _codes(values: list[object]) -> tuple[IntArray, list[str]]:
    known: dict[str, int] = {}
    codes = np.empty(len(values), dtype=np.int64)
    for place, value in enumerate(values):
        if value is None or is_nan(value):
            codes[place] = MISSING
            continue
        text = category_text(value)
        codes[place] = INVALID if text is None else known.setdefault(text, FIRST + len(known))
    return codes, list(known)
