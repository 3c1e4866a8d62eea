"""An ONNX file's graph, looked at without loading it: what a package's graph must never ask for.

Data outside the file, operators that onnxruntime does not bring itself, and tensors that claim to
be larger than the bytes that they have. Only tags and lengths of the protocol buffer are followed;
weights are skipped over. Field numbers: onnx.proto, https://github.com/onnx/onnx (Apache-2.0).
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mooring_model.errors import PackageRefused, RefusalReason

DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft"))
"""Operators that every onnxruntime has; and those that the file defines itself, as functions."""
MAX_DEPTH = 16
"""Of graphs within graphs (If, Loop, Scan)."""
MAX_PARTS = 2_000_000
"""Messages that are looked at: nodes, attributes, tensors."""
_ELEMENTS_PER_BYTE = 2
"""The densest tensors hold numbers of 4 bits."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_FUNCTION_NODE, _FUNCTION_DOMAIN = 7, 10
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_SPARSE_TENSORS = (1, 2)
_TENSOR_DIMS, _TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 8, 13, 14

Span = tuple[int, int]
Field = tuple[int, int, Span]
"""Number, value of a varint, place of the content."""


@dataclass
class _Walk:
    """One look at one file."""

    data: mmap.mmap
    domains: set[str] = field(default_factory=lambda: set(DOMAINS))
    used: dict[str, str] = field(default_factory=dict[str, str])
    """Domain → an operator of it."""
    parts: int = 0

    def model(self) -> None:
        for number, _, span in self.fields((0, len(self.data))):
            if number == _MODEL_GRAPH:
                self.graph(span, 0)
            elif number == _MODEL_FUNCTIONS:
                self.function(span)
        foreign = sorted(set(self.used) - self.domains)
        if foreign:
            raise _Refused(f"uses {foreign[0]}.{self.used[foreign[0]]}, a foreign operator")

    def graph(self, span: Span, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _Refused(f"nests graphs more than {MAX_DEPTH} deep")
        for number, _, inner in self.fields(span):
            if number == _GRAPH_NODE:
                self.node(inner, depth)
            elif number == _GRAPH_TENSOR:
                self.tensor(inner)
            elif number == _GRAPH_SPARSE:
                self.sparse(inner)

    def function(self, span: Span) -> None:
        for number, _, inner in self.fields(span):
            if number == _FUNCTION_NODE:
                self.node(inner, 0)
            elif number == _FUNCTION_DOMAIN:
                self.domains.add(self.text(inner))

    def node(self, span: Span, depth: int) -> None:
        operator, domain = "", ""
        for number, _, inner in self.fields(span):
            if number == _NODE_OPERATOR:
                operator = self.text(inner)
            elif number == _NODE_DOMAIN:
                domain = self.text(inner)
            elif number == _NODE_ATTRIBUTE:
                self.attribute(inner, depth)
        self.used.setdefault(domain, operator)

    def attribute(self, span: Span, depth: int) -> None:
        for number, _, inner in self.fields(span):
            if number in _ATTRIBUTE_TENSORS:
                self.tensor(inner)
            elif number in _ATTRIBUTE_GRAPHS:
                self.graph(inner, depth + 1)
            elif number in _ATTRIBUTE_SPARSE:
                self.sparse(inner)

    def sparse(self, span: Span) -> None:
        for number, _, inner in self.fields(span):
            if number in _SPARSE_TENSORS:
                self.tensor(inner)

    def tensor(self, span: Span) -> None:
        elements, name = 1, "a tensor"
        external = False
        for number, value, inner in self.fields(span):
            if number == _TENSOR_DIMS:
                for extent in self.extents(value, inner):
                    elements *= extent
            elif number == _TENSOR_NAME:
                name = self.text(inner)
            elif number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value):
                external = True
        if external:
            raise _Refused(f"keeps {name} outside of the file")
        if elements < 0 or elements > _ELEMENTS_PER_BYTE * (span[1] - span[0]):
            raise _Refused(f"says that {name} has {elements} elements, which its bytes do not hold")

    def extents(self, value: int, span: Span) -> Iterator[int]:
        """Dimensions, written one by one or packed; negative ones are 64-bit complements."""
        if span == (0, 0):
            yield value - (1 << 64) if value >> 63 else value
            return
        place, end = span
        while place < end:
            extent, place = self.varint(place, end)
            yield extent - (1 << 64) if extent >> 63 else extent

    def text(self, span: Span) -> str:
        return self.data[span[0] : min(span[1], span[0] + 100)].decode("utf-8", "replace")

    def fields(self, span: Span) -> Iterator[Field]:
        """The fields of a message; of a varint the place is (0, 0)."""
        place, end = span
        while place < end:
            self.parts += 1
            if self.parts > MAX_PARTS:
                raise _Refused(f"has more than {MAX_PARTS} parts")
            tag, place = self.varint(place, end)
            wire = tag & 7
            if wire == _VARINT:
                value, place = self.varint(place, end)
                yield tag >> 3, value, (0, 0)
                continue
            length = {_FIXED64: 8, _FIXED32: 4}.get(wire)
            if wire == _LENGTH:
                length, place = self.varint(place, end)
            if length is None or place + length > end:
                raise _Refused("is cut short, or is no protocol buffer")
            yield tag >> 3, 0, (place, place + length)
            place += length

    def varint(self, place: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if place >= end:
                break
            byte = self.data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, place
        raise _Refused("is cut short, or is no protocol buffer")


class _Refused(ValueError):
    """The message says what the graph asks for."""


def check_graph(path: Path) -> None:
    """Raises PackageRefused(GraphRefused) when the graph asks for what no package's may."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            _Walk(m).model()
    except _Refused as refused:
        raise PackageRefused(
            RefusalReason.GRAPH_REFUSED,
            f"{path.parent}: {path.name} {refused}",
            "export the model to one ONNX file with standard operators",
        ) from refused
