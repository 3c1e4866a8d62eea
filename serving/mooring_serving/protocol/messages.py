"""What a decoded request is, transport-neutral."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Column: TypeAlias = npt.NDArray[np.generic]
Columns: TypeAlias = Mapping[str, Column]
Scalar: TypeAlias = str | int | float | bool


@dataclass(slots=True)
class InferenceRequest:
    """A valid inference request. Not frozen: one a request, and freezing costs a microsecond.

    Attributes:
        id: The client's id, echoed; None when it sent none.
        columns: One array [rows] a feature: float64 for numbers (NaN for null), object arrays of
            str or None for text, bool for BOOL.
        matrix: The same numbers as one array [rows, features] when they came as one, else None.
        rows: Rows, at least 1.
        outputs: Names of the wanted outputs in the wanted order; None for all.
        parameters: The request's parameters.
    """

    id: str | None
    columns: Columns
    rows: int
    outputs: tuple[str, ...] | None
    parameters: Mapping[str, Scalar]
    matrix: npt.NDArray[np.float64] | None = None
