"""The values of one feature, cut into the few regions between which its conditions can tell.

For numbers with cuts c0 < c1 < …: region 2i is the open interval below ci, region 2i + 1 is ci
itself, the last but one is what lies above all, the last is missing. For texts: one region for each
text that a condition names, one for all others, one for missing. For booleans: false, true. A
condition holds on a whole region or on none of it, so looking one up decides all conditions at once
and exactly.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mooring_model.prediction import Array, FloatArray
from mooring_model.rules.document import Cell, Scalar
from mooring_model.rules.errors import RulesInvalid
from mooring_model.rules.nodes import Kind
from mooring_model.schema import Datatype, InputSpec

Codes = npt.NDArray[np.intp]
KINDS = {
    Datatype.BOOL: Kind.FLAG,
    Datatype.INT64: Kind.NUMBER,
    Datatype.FP64: Kind.NUMBER,
    Datatype.BYTES: Kind.TEXT,
}


@dataclass(frozen=True)
class NumberRegions:
    """Regions of a numeric feature."""

    cuts: tuple[float, ...]
    array: FloatArray

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "NumberRegions":
        """The regions that these cells can tell apart."""
        cuts = sorted({float(value) for cell in cells for value in _numbers(cell)})
        return cls(tuple(cuts), np.array(cuts, np.float64))

    @property
    def size(self) -> int:
        """Regions, missing included."""
        return 2 * len(self.cuts) + 2

    def possible(self, spec: InputSpec) -> int:
        """Bits of the regions that the schema lets occur."""
        every = (1 << self.size) - 1
        return every if spec.nullable else every >> 1

    def code(self, value: float) -> int:
        """The region of one value."""
        if value != value:  # NaN, seen in the quickest way
            return 2 * len(self.cuts) + 1
        return bisect_left(self.cuts, value) + bisect_right(self.cuts, value)

    def codes(self, column: Array) -> Codes:
        """The regions of a column, [n]."""
        found = self.array.searchsorted(column, "left") + self.array.searchsorted(column, "right")
        found[np.isnan(column)] = 2 * len(self.cuts) + 1
        return found

    def accepted(self, cell: Cell) -> int:
        """Bits of the regions on which the cell holds."""
        every = (1 << (self.size - 1)) - 1
        bits = 0 if cell.missing is True else every
        for value, regions in ((cell.lt, 1), (cell.le, 2)):
            if value is not None:
                bits &= (1 << (2 * self._place(value) + regions)) - 1
        for value, regions in ((cell.gt, 2), (cell.ge, 1)):
            if value is not None:
                bits &= ~((1 << (2 * self._place(value) + regions)) - 1)
        for values, inside in _listed(cell):
            points = _bits(2 * self._place(value) + 1 for value in values)
            bits &= points if inside else ~points
        bits &= every
        return bits | 1 << (self.size - 1) if _takes_missing(cell) else bits

    def _place(self, value: Scalar) -> int:
        return bisect_left(self.cuts, float(value))

    def describe(self, code: int) -> str:
        """A region in words."""
        if code == self.size - 1:
            return "missing"
        below, is_cut = divmod(code, 2)
        if is_cut:
            return f"= {self.cuts[below]:g}"
        low = f"> {self.cuts[below - 1]:g}" if below else ""
        high = f"< {self.cuts[below]:g}" if below < len(self.cuts) else ""
        return " and ".join(part for part in (low, high) if part) or "any"


@dataclass(frozen=True)
class TextRegions:
    """Regions of a feature of texts."""

    places: dict[str | None, int]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "TextRegions":
        """The regions that these cells can tell apart."""
        texts = sorted({str(v) for cell in cells for values, _ in _listed(cell) for v in values})
        places: dict[str | None, int] = {text: place for place, text in enumerate(texts)}
        places[None] = len(texts) + 1
        return cls(places)

    @property
    def size(self) -> int:
        """Regions: the named texts, all others, missing."""
        return len(self.places) + 1

    def possible(self, spec: InputSpec) -> int:
        """Bits of the regions that the schema lets occur; unseen texts always can."""
        every = (1 << self.size) - 1
        return every if spec.nullable else every >> 1

    def code(self, value: str | None) -> int:
        """The region of one value."""
        return self.places.get(value, len(self.places) - 1)

    def codes(self, column: Array) -> Codes:
        """The regions of a column, [n]."""
        get, other = self.places.get, len(self.places) - 1
        return np.array([get(value, other) for value in column.tolist()], np.intp)

    def accepted(self, cell: Cell) -> int:
        """Bits of the regions on which the cell holds."""
        every = (1 << (self.size - 1)) - 1
        bits = 0 if cell.missing is True else every
        for values, inside in _listed(cell):
            points = _bits(self.places[str(value)] for value in values)
            bits &= points if inside else ~points
        bits &= every
        return bits | 1 << (self.size - 1) if _takes_missing(cell) else bits

    def describe(self, code: int) -> str:
        """A region in words."""
        if code == self.size - 1:
            return "missing"
        names = [text for text, place in self.places.items() if place == code]
        return f"= {names[0]!r}" if names else "another text"


@dataclass(frozen=True)
class FlagRegions:
    """Regions of a boolean feature: false, true."""

    size: int = 2

    def possible(self, spec: InputSpec) -> int:  # noqa: ARG002 - as for the others
        """Both."""
        return 0b11

    def code(self, value: bool) -> int:  # noqa: FBT001 - a value of the column
        """The region of one value."""
        return int(value)

    def codes(self, column: Array) -> Codes:
        """The regions of a column, [n]."""
        return column.astype(np.intp)

    def accepted(self, cell: Cell) -> int:
        """Bits of the regions on which the cell holds."""
        bits = 0b11
        for values, inside in _listed(cell):
            points = _bits(int(value) for value in values)
            bits &= points if inside else ~points
        return bits

    def describe(self, code: int) -> str:
        """A region in words."""
        return ("= false", "= true")[code]


Regions = NumberRegions | TextRegions | FlagRegions


def unpack(bits: int, size: int) -> npt.NDArray[np.bool_]:
    """Bits as booleans, [size], the lowest first."""
    data = np.frombuffer(bits.to_bytes(size // 8 + 1, "little"), np.uint8)
    return np.unpackbits(data, count=size, bitorder="little").astype(np.bool_)


def pack(flags: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """The rows of [m, n] booleans as m numbers, the first column as the lowest bit."""
    packed = np.packbits(flags, axis=1, bitorder="little")
    return tuple(int.from_bytes(row.tobytes(), "little") for row in packed)


def build_regions(spec: InputSpec, cells: Sequence[Cell]) -> Regions:
    """The regions of a feature.

    Raises:
        RulesInvalid: a cell asks what the feature's type does not answer.
    """
    kind = KINDS[spec.datatype]
    for cell in cells:
        _check_cell(spec.name, kind, cell)
    match kind:
        case Kind.NUMBER:
            return NumberRegions.of(cells)
        case Kind.TEXT:
            return TextRegions.of(cells)
        case Kind.FLAG:
            return FlagRegions()


def _check_cell(feature: str, kind: Kind, cell: Cell) -> None:
    bounds = [value for value in (cell.lt, cell.le, cell.gt, cell.ge) if value is not None]
    if bounds and kind is not Kind.NUMBER:
        raise RulesInvalid(f"feature {feature}: a {kind} has no order; write eq, ne, in or notIn")
    if kind is Kind.FLAG and (cell.missing is not None or cell.or_missing):
        raise RulesInvalid(f"feature {feature}: a boolean is never missing")
    for values, _ in _listed(cell):
        for value in values:
            if kind_of(value) is not kind:
                raise RulesInvalid(
                    f"feature {feature}: {value!r} is no {kind}, which the feature is"
                )


def kind_of(value: Scalar) -> Kind:
    """What a value of a document is."""
    if isinstance(value, bool):
        return Kind.FLAG
    return Kind.TEXT if isinstance(value, str) else Kind.NUMBER


def _listed(cell: Cell) -> list[tuple[tuple[Scalar, ...], bool]]:
    """Lists of values that the cell names, and whether the value must be among them."""
    found: list[tuple[tuple[Scalar, ...], bool]] = []
    if cell.eq is not None:
        found.append(((cell.eq,), True))
    if cell.ne is not None:
        found.append(((cell.ne,), False))
    if cell.within is not None:
        found.append((cell.within, True))
    if cell.without is not None:
        found.append((cell.without, False))
    return found


def _numbers(cell: Cell) -> list[float]:
    bounds = [value for value in (cell.lt, cell.le, cell.gt, cell.ge) if value is not None]
    return [float(v) for v in bounds] + [float(v) for values, _ in _listed(cell) for v in values]


def _bits(places: Iterable[int]) -> int:
    bits = 0
    for place in places:
        bits |= 1 << place
    return bits


def _takes_missing(cell: Cell) -> bool:
    return cell.missing is True or cell.or_missing
