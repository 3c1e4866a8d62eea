"""What a decoded request is, transport-neutral."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Column: TypeAlias = npt.NDArray[np.generic]
Columns: TypeAlias = Mapping[str, Column]
OutputArrays: TypeAlias = Mapping[str, Column]
"""For each output an array [rows] or [rows, width]: float64, int64, bool, or object of str."""
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
        binary: Names of the outputs that the client wants as bytes (binary tensor extension).
    """

    id: str | None
    columns: Columns
    rows: int
    outputs: tuple[str, ...] | None
    parameters: Mapping[str, Scalar]
    binary: Collection[str] = ()


def join_columns(requests: Sequence[InferenceRequest], features: Sequence[str]) -> Columns:
    """The columns of several requests one after the other, [all rows] a feature.

    Requests that came as matrices are joined as such: one copy instead of one a feature.
    """
    first = requests[0].columns
    if len(requests) == 1:
        return first
    matrices = [
        request.columns.matrix for request in requests if isinstance(request.columns, MatrixColumns)
    ]
    if isinstance(first, MatrixColumns) and len(matrices) == len(requests):
        return first.joined_with(matrices)
    return {
        name: np.concatenate([request.columns[name] for request in requests])
        for name in features
        if name in first
    }
