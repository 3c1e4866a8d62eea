"""What is read around remembered surroundings is what the ordinary decoder reads."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_serving.errors import RequestRefused
from mooring_serving.grpc.codec import decode_request as decode_message
from mooring_serving.grpc.codec import parse_request
from mooring_serving.grpc.proto import open_inference_pb2 as pb
from mooring_serving.grpc.repeated import MessageMemory
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.binary import decode_binary_request
from mooring_serving.protocol.codec import decode_document, parse_json_object
from mooring_serving.protocol.messages import InferenceRequest
from mooring_serving.protocol.repeated import BodyReader
from mooring_serving.protocol.signature import Signature, build_signature

LIMITS = TensorLimits()
NAMES = "abc"


class Field:
    """A feature or an output."""

    def __init__(self, name: str, *, nullable: bool = False) -> None:
        self.name = name
        self.datatype = "FP64"
        self.nullable = nullable
        self.width = 1
        self.categories = None


def signature(*, nullable: bool = False) -> Signature:
    fields = [Field(name, nullable=nullable) for name in NAMES]
    return build_signature(fields, [Field("prediction")], max_rows=4096)


def outcome(decode: Callable[[], InferenceRequest]) -> tuple[object, ...]:
    """Everything that a decoder says, comparable."""
    try:
        request = decode()
    except RequestRefused as refusal:
        return (str(refusal), refusal.status, refusal.reason)
    matrix = np.column_stack([request.columns[name] for name in NAMES]).astype("<f8")
    rest = (request.id, request.rows, request.outputs, dict(request.parameters))
    return (matrix.shape, matrix.tobytes(), frozenset(request.binary), *rest)


NUMBERS = (
    st.floats(-1e3, 1e3)
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([3.4028234663852886e38, -3.402823466385289e38, 3.5e38, 65504, 65520, 1e308])
)
DATA = st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=3)
ODD = (
    st.none()
    | st.booleans()
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.sampled_from(["data", "x"]), st.integers(), max_size=1)
)
EXTRA = st.dictionaries(
    st.sampled_from(["id", "outputs", "parameters", "data", "extra", 'a"data":']),
    st.sampled_from(["a1", [], [1.0], [{"name": "prediction"}], {"data": [1]}, '"data": [[1]]', 3]),
    max_size=2,
)


def write(rows: list[list[Any]], flat: bool, style: tuple[Any, ...], fields: Any) -> bytes:
    datatype, data_first, separators, padding = style
    data = [value for row in rows for value in row] if flat else rows
    tensor = {"name": "input", "datatype": datatype, "shape": [len(rows), 3], "data": data}
    if data_first:
        tensor = {"data": data, **tensor}
    document = {"inputs": [tensor], **fields}
    text = json.dumps(document, separators=separators)
    # White space among the numbers makes a body large without changing what it says.
    return (text.replace("]]", " " * padding + "]]") if padding else text).encode()


STYLES = st.tuples(
    st.sampled_from(["FP64", "FP32", "FP16", "BF16", "INT64", "BYTES"]),
    st.booleans(),
    st.sampled_from([(", ", ": "), (",", ":"), (" ,\n", "\t: ")]),
    st.sampled_from([0, 0, 5000]),
)


@settings(max_examples=400, deadline=None)
@given(
    bodies=st.lists(DATA, min_size=2, max_size=4),
    odd=st.none() | st.tuples(st.integers(0, 2), st.integers(0, 2), ODD),
    style=STYLES,
    flat=st.lists(st.booleans(), min_size=4, max_size=4),
    fields=EXTRA,
    nullable=st.booleans(),
)
def test_repeated_body_is_read_as_the_ordinary_decoder_reads_it(
    bodies: list[list[list[Any]]],
    odd: tuple[int, int, Any] | None,
    style: tuple[Any, ...],
    flat: list[bool],
    fields: dict[str, Any],
    nullable: bool,
) -> None:
    known = signature(nullable=nullable)
    reader = BodyReader(known, LIMITS)
    last = bodies[-1]
    if odd is not None and odd[0] < len(last):
        last[odd[0]][odd[1] : odd[1] + 1] = [odd[2]]
    for rows, is_flat in zip(bodies, flat, strict=False):
        body = write(rows, is_flat, style, fields)

        def ordinary(body: bytes = body) -> InferenceRequest:
            return decode_document(parse_json_object(body, LIMITS), known, LIMITS)

        assert outcome(lambda body=body: reader.read(body)) == outcome(ordinary)


PLAIN = b'{"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 3], "data": %b}]}'


@pytest.mark.parametrize(
    "data",
    [
        b"[[1, 2, 3]]", b"[1, 2, 3]", b"[[1, 2], [3]]", b"[[1, 2, true]]", b"[[1, 2, null]]",
        b"[[1, 2, 3]", b"[[1, 2, 3]]]", b'[[1, 2, 3]], "data": [[4, 5, 6]]', b"3", b"[[1, 2, 03]]",
        b"[[1, 2, 1e999]]", b"[[1, 2, 3.5e38]]", b"[[1, 2, [3]]]", b"[[[1, 2, 3]]]", b"",
        b'[[1, 2, 3]], "shape": [3, 1]', b"\xef\xbb\xbf[[1, 2, 3]]", b"[[1, 2, -]]", b"[]",
        b"[[1,2,3],]", b"[[], [1, 2, 3]]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("padding", [0, 5000])
def test_odd_data_within_known_surroundings_has_the_ordinary_outcome(
    data: bytes, padding: int
) -> None:
    known = signature()
    reader = BodyReader(known, LIMITS)
    reader.read(PLAIN % b"[[7, 8, 9]]")
    body = PLAIN % (b" " * padding + data)
    want = outcome(lambda: decode_document(parse_json_object(body, LIMITS), known, LIMITS))
    assert outcome(lambda: reader.read(body)) == want


@pytest.mark.parametrize("padding", [0, 5000])
def test_rows_of_other_lengths_are_refused_when_their_numbers_are_enough(padding: int) -> None:
    reader = BodyReader(signature(), LIMITS)
    two = PLAIN.replace(b"[1, 3]", b"[2, 3]")
    reader.read(two % b"[[1, 2, 3], [4, 5, 6]]")
    with pytest.raises(RequestRefused, match="nested data does not have the shape"):
        reader.read(two % (b" " * padding + b"[[1, 2], [3, 4, 5, 6]]"))


def test_what_follows_the_numbers_is_read_when_it_changes() -> None:
    reader = BodyReader(signature(), LIMITS)
    bodies = [PLAIN[:-1] % b"[1, 2, 3]" + b', "id": "%b"}' % name for name in (b"a", b"b", b"a")]
    assert [reader.read(body).id for body in bodies] == ["a", "b", "a"]


def test_second_body_is_read_around_what_is_known() -> None:
    reader = BodyReader(signature(), LIMITS)
    reader.read(PLAIN % b"[[7, 8, 9]]")
    datas = (b"[[1, 2, 3]]", b"[4, 5, 6]", b"[[" + b" " * 5000 + b"1, 2, 3]]")
    # The ordinary decoder makes parameters of its own for each request.
    assert len({id(reader.read(PLAIN % data).parameters) for data in datas * 2}) == 1


def binary(values: list[list[float]], datatype: str, extra: dict[str, Any]) -> tuple[bytes, bytes]:
    kind = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2", "BF16": "<u2", "INT32": "<i4"}[datatype]
    with np.errstate(all="ignore"):
        raw = np.array(values).astype(kind).tobytes()
    size = {"parameters": {"binary_data_size": len(raw)}}
    tensor = {"name": "input", "datatype": datatype, "shape": [len(values), 3], **size}
    head = json.dumps({"inputs": [tensor], **extra}).encode()
    return head + raw, str(len(head)).encode()


FLOATS = st.lists(
    st.lists(st.floats(-1e3, 1e3) | st.floats(), min_size=3, max_size=3), min_size=1, max_size=60
)
DATATYPES = st.sampled_from(["FP64", "FP32", "FP16", "BF16", "INT32"])


@settings(max_examples=200, deadline=None)
@given(
    bodies=st.lists(FLOATS, min_size=1, max_size=2),
    datatype=DATATYPES,
    extra=st.sampled_from([{}, {"id": "a"}, {"parameters": {"binary_data_output": True}}]),
    cut=st.sampled_from([0, 1, 8]),
    nullable=st.booleans(),
)
def test_repeated_binary_body_is_read_as_the_ordinary_decoder_reads_it(
    bodies: list[list[list[float]]],
    datatype: str,
    extra: dict[str, Any],
    cut: int,
    nullable: bool,
) -> None:
    known = signature(nullable=nullable)
    reader = BodyReader(known, LIMITS)
    for values in bodies:
        first, header = binary([[1.0, 2.0, 3.0]] * len(values), datatype, extra)
        reader.read_binary(first, header)
        body, header = binary(values, datatype, extra)
        body = body[: len(body) - cut]

        def ordinary(body: bytes = body, header: bytes = header) -> InferenceRequest:
            return decode_binary_request(body, header, known, LIMITS)

        got = outcome(lambda body=body, header=header: reader.read_binary(body, header))
        assert got == outcome(ordinary)


def message(values: list[list[float]], datatype: str, *, last: str = "raw") -> bytes:
    kind = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2", "BF16": "<u2", "INT32": "<i4"}[datatype]
    with np.errstate(all="ignore"):
        raw = np.array(values).astype(kind).tobytes()
    request = pb.ModelInferRequest(model_name="m", id="a")
    request.inputs.add(name="input", datatype=datatype, shape=[len(values), 3])
    tail = pb.ModelInferRequest(raw_input_contents=[raw]).SerializeToString()
    if last == "raw":
        return request.SerializeToString() + tail
    return tail + request.SerializeToString()


@settings(max_examples=200, deadline=None)
@given(
    values=FLOATS, datatype=DATATYPES, last=st.sampled_from(["raw", "inputs"]), same=st.booleans()
)
def test_repeated_message_is_read_as_the_ordinary_decoder_reads_it(
    values: list[list[float]], datatype: str, last: str, same: bool
) -> None:
    known = signature()
    memory = MessageMemory(known)
    first = message([[1.0, 2.0, 3.0]] * len(values), datatype, last=last if same else "raw")
    document = parse_request(first, LIMITS)
    memory.learn(first, document, decode_message(document, known, LIMITS))
    second = message(values, datatype, last=last)
    recalled = memory.recall(second)
    if recalled is not None:
        want = outcome(lambda: decode_message(parse_request(second, LIMITS), known, LIMITS))
        assert outcome(lambda: recalled[0]) == want
    plain = last == "raw" and datatype in ("FP64", "FP32", "FP16")
    if plain and float(np.abs(values).max()) < 6e4:
        assert recalled is not None
        assert not recalled[1]
    if last != "raw":
        assert recalled is None


def test_message_that_ends_in_a_text_like_a_matrix_is_not_remembered() -> None:
    """A text at the end may look like the field of the matrix, and is not."""
    known = signature()
    raw = np.array([1.0, 2.0, 3.0], "<f8").tobytes()
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=[raw])
    request.inputs.add(name="input", datatype="FP64", shape=[1, 3])
    text = b":" + bytes([len(raw)]) + raw
    body = request.SerializeToString() + b"\x1a" + bytes([len(text)]) + text
    memory = MessageMemory(known)
    document = parse_request(request.SerializeToString(), LIMITS)
    memory.learn(body, document, decode_message(document, known, LIMITS))
    assert memory.recall(body) is None
