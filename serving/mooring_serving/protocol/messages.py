"""What a decoded request is, transport-neutral."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Column: TypeAlias = npt.NDArray[np.generic]
Columns: TypeAlias = Mapping[str, Column]
Scalar: TypeAlias = str | int | float | bool


class MatrixColumns(Mapping[str, Column]):
    """The columns of one matrix [rows, features], each a view made when it is asked for.

    A model that takes a matrix reads `matrix` and saves making thirty views to stack them again.
    """

    __slots__ = ("_positions", "matrix")

    def __init__(self, matrix: npt.NDArray[np.float64], positions: Mapping[str, int]) -> None:
        self.matrix = matrix
        self._positions = positions

    def __getitem__(self, name: str) -> Column:
        """The feature's values [rows]."""
        return self.matrix[:, self._positions[name]]

    def __iter__(self) -> Iterator[str]:
        """Feature names in the matrix' order."""
        return iter(self._positions)

    def __len__(self) -> int:
        """Features."""
        return len(self._positions)

    def joined_with(self, matrices: Sequence[npt.NDArray[np.float64]]) -> "MatrixColumns":
        """Several matrices of this one's features, one below the other."""
        return MatrixColumns(np.concatenate(matrices), self._positions)


@dataclass(slots=True)
class InferenceRequest:
    """A valid inference request. Not frozen: one a request, and freezing costs a microsecond.

    Attributes:
        id: The client's id, echoed; None when it sent none.
        columns: One array [rows] a feature: float64 for numbers (NaN for null), object arrays of
            str or None for text, bool for BOOL. `MatrixColumns` when they came as one matrix.
        rows: Rows, at least 1.
        outputs: Names of the wanted outputs in the wanted order; None for all.
        parameters: The request's parameters.
    """

    id: str | None
    columns: Columns
    rows: int
    outputs: tuple[str, ...] | None
    parameters: Mapping[str, Scalar]
