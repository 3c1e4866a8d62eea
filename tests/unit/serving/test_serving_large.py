"""A large matrix that simdjson reads is what the ordinary decoder reads, or is left to it."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_serving.errors import RequestRefused
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.codec import decode_document, decode_request, parse_json_object
from mooring_serving.protocol.large import LARGE_BODY, read_matrix_document
from mooring_serving.protocol.messages import InferenceRequest, MatrixColumns
from mooring_serving.protocol.signature import build_signature

LIMITS = TensorLimits()
WIDTH = 3


class Field:
    """A feature or an output."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.datatype = "FP64"
        self.nullable = False
        self.width = 1
        self.categories = None


SIGNATURE = build_signature([Field(n) for n in "abc"], [Field("prediction")], max_rows=4096)
PADDING = "x" * LARGE_BODY


def both(body: bytes) -> tuple[InferenceRequest | str, InferenceRequest | str]:
    """What the quick and the ordinary way make of a body."""

    def ordinary() -> InferenceRequest:
        return decode_document(parse_json_object(body, LIMITS), SIGNATURE, LIMITS)

    found: list[InferenceRequest | str] = []
    for decode in (lambda: decode_request(body, SIGNATURE, LIMITS), ordinary):
        try:
            found.append(decode())
        except RequestRefused as refusal:
            found.append(str(refusal))
    return found[0], found[1]


def same(one: InferenceRequest | str, other: InferenceRequest | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    matrices = [
        np.column_stack([request.columns[name] for name in "abc"]) for request in (one, other)
    ]
    rest = [
        (request.id, request.rows, request.outputs, request.parameters) for request in (one, other)
    ]
    return np.array_equal(matrices[0], matrices[1]) and rest[0] == rest[1]


NUMBERS = st.floats(-1e38, 1e38) | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
ODD = st.none() | st.booleans() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.lists(NUMBERS, min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=6),
    flat=st.booleans(),
    odd=st.none() | st.tuples(st.integers(0, 5), st.integers(0, WIDTH), ODD),
    fields=st.dictionaries(
        st.sampled_from(["id", "outputs", "parameters", "extra", "inputs["]),
        st.sampled_from(["a1", [], [{"name": "prediction"}], {"x": 1}, {"x": [1, [2]]}, "[", 3]),
    ),
    shape=st.none() | st.lists(st.integers(0, 7), max_size=3),
)
def test_both_decoders_say_the_same(
    rows: list[list[Any]],
    flat: bool,
    odd: tuple[int, int, Any] | None,
    fields: dict[str, Any],
    shape: list[int] | None,
) -> None:
    if odd is not None and odd[0] < len(rows):
        rows[odd[0]][odd[1] : odd[1] + 1] = [odd[2]]
    data = [value for row in rows for value in row] if flat else rows
    tensor = {
        "name": "input",
        "datatype": "FP64",
        "shape": shape if shape is not None else [len(rows), WIDTH],
        "data": data,
    }
    body = json.dumps({"padding": PADDING, "inputs": [tensor], **fields}).encode()
    quick, ordinary = both(body)
    assert same(quick, ordinary), (quick, ordinary)


def test_large_matrix_takes_the_quick_way() -> None:
    values = np.arange(3000.0).reshape(1000, WIDTH)
    tensor = {"name": "input", "datatype": "FP32", "shape": [1000, WIDTH], "data": values.tolist()}
    body = orjson.dumps({"inputs": [tensor], "id": "a", "outputs": [{"name": "prediction"}]})
    document = read_matrix_document(body)
    assert document is not None
    request = decode_request(body, SIGNATURE, LIMITS)
    assert isinstance(request.columns, MatrixColumns)
    assert np.array_equal(request.columns.matrix, values)


@pytest.mark.parametrize(
    "data",
    ["[[1, 2, 3], [4, 5]]", "[[1, 2, 3], [[4], 5, 6]]", "[[1, 2], [], [3, 4, 5, 6]]", "[1, true]"],
)
def test_matrix_that_is_none_is_left_to_the_ordinary_way(data: str) -> None:
    body = (
        f'{{"inputs": [{{"name": "input", "datatype": "FP64", "shape": [2, 3], "data": {data}}}]}}'
    )
    assert read_matrix_document(body.encode()) is None
