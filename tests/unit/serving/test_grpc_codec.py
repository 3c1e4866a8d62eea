"""gRPC's quick and ordinary decoders agree; header blocks, statuses and messages byte by byte."""

import base64
import zlib
from typing import Any

import hpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring_serving.errors import RequestRefused
from mooring_serving.grpc.codec import decode_request, parse_request
from mooring_serving.grpc.columns import read_raw_columns
from mooring_serving.grpc.frames import StreamFault
from mooring_serving.grpc.heads import HeadReader, changes_table, encode_headers, parse_head
from mooring_serving.grpc.message import unwrap
from mooring_serving.grpc.proto import open_inference_pb2 as pb
from mooring_serving.grpc.status import Status, encode_message, encode_retry_details, from_http
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.signature import Feature, Output, Signature, build_signature

LIMITS = TensorLimits()
NAMES = ("a", "b", "c")


def signature(*, nullable: bool = False) -> Signature:
    inputs = [Feature(name, Datatype.FP64, nullable) for name in NAMES]
    outputs = [Output("prediction", Datatype.FP64, 1)]
    return build_signature(inputs, outputs, max_rows=50)


def columns_request(columns: dict[str, Any], datatype: str = "FP64") -> Any:
    kind = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}[datatype]
    request = pb.ModelInferRequest(model_name="m")
    for name, values in columns.items():
        request.inputs.add(name=name, datatype=datatype, shape=[len(values)])
        request.raw_input_contents.append(np.array(values, kind).tobytes())
    return request


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "INT64", "INT32"])
@pytest.mark.parametrize("order", ["abc", "cab"])
def test_quick_decoder_reads_columns_by_name(datatype: str, order: str) -> None:
    columns = {"a": [1, 2], "b": [3, 4], "c": [5, 6]}
    request = columns_request({name: columns[name] for name in order}, datatype)
    matrix = read_raw_columns(request, signature())
    assert matrix is not None
    assert matrix.tolist() == [[1, 3, 5], [2, 4, 6]]
    decoded = decode_request(request, signature(), LIMITS)
    assert decoded.rows == 2
    assert decoded.columns["b"].tolist() == [3, 4]


def test_quick_and_ordinary_decoder_give_the_same_columns() -> None:
    columns = {name: np.linspace(-9, 9, 7) * at for at, name in enumerate(NAMES)}
    request = columns_request(columns)
    quick = decode_request(request, signature(), LIMITS)
    ordinary = decode_request(request, signature(nullable=True), LIMITS)
    assert read_raw_columns(request, signature(nullable=True)) is None
    for name in NAMES:
        assert quick.columns[name].tolist() == ordinary.columns[name].tolist()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": [1.0], "b": [1.0]}, "'c' is missing"),
        ({"a": [1.0], "b": [1.0], "d": [1.0]}, "'d' is not an input"),
        ({"a": [1.0], "b": [1.0, 2.0], "c": [1.0]}, "'b' has 2 rows"),
        ({"a": [1.0], "b": [float("nan")], "c": [1.0]}, "'b'"),
        ({"a": [1.0], "b": [float("inf")], "c": [1.0]}, "'b'"),
        ({"a": [1.0] * 51, "b": [1.0] * 51, "c": [1.0] * 51}, "'a' has 51 rows"),
    ],
)
def test_what_the_quick_decoder_leaves_is_refused_by_its_features_name(
    columns: dict[str, list[float]], said: str
) -> None:
    request = columns_request(columns)
    assert read_raw_columns(request, signature()) is None
    with pytest.raises(RequestRefused, match=said):
        decode_request(request, signature(), LIMITS)


@given(st.binary(max_size=30))
def test_any_short_bytes_are_refused(data: bytes) -> None:
    """A short text is no request of this model, whatever it parses as."""
    with pytest.raises(RequestRefused):
        decode_request(parse_request(data, LIMITS), signature(), LIMITS)


CALL = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a/b"),
    (":authority", "host"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


def test_repeated_heads_are_read_like_the_first_while_the_table_changes() -> None:
    encoder, reader = hpack.Encoder(), HeadReader(16_384)
    for number in range(300):
        path = f"/service/method{number % 7 if number % 3 else number}"
        head = [*CALL[:2], (":path", path), *CALL[3:], ("x-number", str(number // 50))]
        assert reader.read(encoder.encode(head)).path == path


def test_block_changes_the_table_only_when_it_adds_to_it() -> None:
    encoder = hpack.Encoder()
    first, second = encoder.encode(CALL), encoder.encode(CALL)
    assert (changes_table(first), changes_table(second)) == (True, False)
    assert not changes_table(encode_headers([(b"x" * 300, b"y" * 5000)]))
    assert changes_table(b"\x3f\xe1\x1f")  # another size


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.binary(max_size=400)), max_size=9)
)
def test_encoded_headers_are_read_by_another_implementation(
    headers: list[tuple[bytes, bytes]],
) -> None:
    decoded = hpack.Decoder().decode(encode_headers(headers), raw=True)
    assert [(field[0], field[1]) for field in decoded] == headers


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("99999999n", 0.099999999)],
)
def test_timeout_is_read_in_its_unit(timeout: str, seconds: float) -> None:
    head = [(name.encode(), value.encode()) for name, value in CALL]
    assert parse_head([*head, (b"grpc-timeout", timeout.encode())]).timeout == pytest.approx(
        seconds
    )


@pytest.mark.parametrize("timeout", [b"", b"1", b"S", b"123456789S", b"-1S", b"1.5S", b"1s"])
def test_timeout_that_is_none_is_refused(timeout: bytes) -> None:
    head = [(name.encode(), value.encode()) for name, value in CALL]
    with pytest.raises(StreamFault, match="grpc-timeout"):
        parse_head([*head, (b"grpc-timeout", timeout)])


def test_message_of_a_status_is_percent_encoded_and_short() -> None:
    assert encode_message("50 % of 'τ'\n") == b"50 %25 of '%CF%84'%0A"
    assert len(encode_message("τ" * 5000)) <= 3072


@pytest.mark.parametrize(
    ("http", "status"),
    [
        (400, Status.INVALID_ARGUMENT),
        (404, Status.NOT_FOUND),
        (413, Status.RESOURCE_EXHAUSTED),
        (429, Status.RESOURCE_EXHAUSTED),
        (500, Status.INTERNAL),
        (503, Status.UNAVAILABLE),
        (504, Status.DEADLINE_EXCEEDED),
    ],
)
def test_http_statuses_have_their_grpc_status(http: int, status: Status) -> None:
    assert from_http(http) is status


def test_retry_details_are_a_status_with_a_retry_info() -> None:
    encoded = encode_retry_details(Status.UNAVAILABLE, "later", 2)
    raw = base64.b64decode(encoded + b"=" * (-len(encoded) % 4))
    retry = b"\x0a\x02\x08\x02"  # retry_delay {seconds: 2}
    url = b"type.googleapis.com/google.rpc.RetryInfo"
    any_of = b"\x0a" + bytes([len(url)]) + url + b"\x12" + bytes([len(retry)]) + retry
    assert raw == b"\x08\x0e\x12\x05later\x1a" + bytes([len(any_of)]) + any_of


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_message_is_inflated_up_to_its_limit(encoding: str) -> None:
    compressor = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    body = compressor.compress(b"x" * 1000) + compressor.flush()
    data = b"\1" + len(body).to_bytes(4, "big") + body
    assert unwrap(data, encoding, 1000) == b"x" * 1000
    with pytest.raises(RequestRefused, match="decompressed") as refused:
        unwrap(data, encoding, 999)
    assert refused.value.status == 413
