"""Malformed ModelInfer messages: each is refused with what is wrong, none breaks anything."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from tests.serving.grpc_client import Client, connected, join_texts, matrix_request, pb
from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package, mixed_package

Code = grpc.StatusCode
REFUSALS = {Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.RESOURCE_EXHAUSTED}
Change = Callable[[Any], object]


@pytest.fixture(scope="module")
def cancer() -> Iterator[Server]:
    with running(cancer_package()) as server:
        yield server


@pytest.fixture(scope="module")
def client(cancer: Server) -> Iterator[Client]:
    with connected(cancer.grpc) as opened:
        yield opened


@pytest.fixture(scope="module")
def flights() -> Iterator[Client]:
    with running(mixed_package()) as server, connected(server.grpc) as opened:
        yield opened


def refuse(client: Client, request: Any, said: str = "") -> None:
    error = client.refused(request)
    assert error.code() in REFUSALS, error.details()
    assert error.details()
    assert said in error.details()


def valid_matrix(*, raw: bool = True) -> Any:
    return matrix_request(np.ones((2, 30)), raw=raw)


def set_shape(*shape: int) -> Change:
    def change(request: Any) -> None:
        del request.inputs[0].shape[:]
        request.inputs[0].shape.extend(shape)

    return change


def set_datatype(datatype: str) -> Change:
    return lambda request: setattr(request.inputs[0], "datatype", datatype)


def set_value(value: float) -> Change:
    def change(request: Any) -> None:
        if request.raw_input_contents:
            request.raw_input_contents[0] = np.full((2, 30), value).tobytes()
        else:
            request.inputs[0].contents.fp64_contents[7] = value

    return change


def add_parameter(where: str, kind: str | None, value: object = None) -> Change:
    def change(request: Any) -> None:
        owner = request if where == "request" else request.inputs[0]
        parameter = owner.parameters["p"]
        if kind is not None:
            setattr(parameter, kind, value)

    return change


def repeat(field: str, count: int) -> Change:
    def change(request: Any) -> None:
        for _ in range(count):
            getattr(request, field).add(name="label")

    return change


MATRIX_CHANGES: dict[str, Change] = {
    "another model": lambda r: setattr(r, "model_name", "other"),
    "no model": lambda r: r.ClearField("model_name"),
    "another version": lambda r: setattr(r, "model_version", "v7"),
    "no inputs": lambda r: r.ClearField("inputs"),
    "unnamed input": lambda r: setattr(r.inputs[0], "name", ""),
    "unknown input": lambda r: setattr(r.inputs[0], "name", "matrix"),
    "no datatype": lambda r: r.inputs[0].ClearField("datatype"),
    "unknown datatype": set_datatype("FP8"),
    "lower-case datatype": set_datatype("fp64"),
    "text for numbers": set_datatype("BYTES"),
    "flags for numbers": set_datatype("BOOL"),
    "no shape": set_shape(),
    "one dimension": set_shape(60),
    "three dimensions": set_shape(2, 30, 1),
    "nine dimensions": set_shape(1, 1, 1, 1, 1, 1, 1, 2, 30),
    "turned around": set_shape(30, 2),
    "too many rows": set_shape(3, 30),
    "too few rows": set_shape(1, 30),
    "too many columns": set_shape(2, 31),
    "no rows": set_shape(0, 30),
    "unknown rows": set_shape(-1, 30),
    "negative": set_shape(-2, -30),
    "huge": set_shape(1 << 62, 30),
    "overflowing": set_shape(1 << 62, 1 << 62),
    "as many as the model refuses": set_shape(100_000, 30),
    "NaN": set_value(float("nan")),
    "infinity": set_value(float("inf")),
    "minus infinity": set_value(float("-inf")),
    "beyond single precision": set_value(1e39),
    "id with a space": lambda r: setattr(r, "id", "a b"),
    "id with a newline": lambda r: setattr(r, "id", "a\nb"),
    "id of 129": lambda r: setattr(r, "id", "x" * 129),
    "id in Greek": lambda r: setattr(r, "id", "ταυ"),
    "unknown output": lambda r: r.outputs.add(name="nope"),
    "unnamed output": lambda r: r.outputs.add(),
    "output wanted twice": repeat("outputs", 2),
    "65 outputs": repeat("outputs", 65),
    "empty parameter": add_parameter("request", None),
    "NaN parameter": add_parameter("request", "double_param", float("nan")),
    "infinite parameter": add_parameter("request", "double_param", float("inf")),
    "binary_data_output as text": lambda r: setattr(
        r.parameters["binary_data_output"], "string_param", "yes"
    ),
    "empty parameter of an input": add_parameter("input", None),
    "NaN parameter of an input": add_parameter("input", "double_param", float("nan")),
    "65 parameters": lambda r: [
        setattr(r.parameters[f"p{n}"], "bool_param", True) for n in range(65)
    ],
    "the input twice": lambda r: r.inputs.append(r.inputs[0]),
    "another input too": lambda r: r.inputs.add(name="age", datatype="FP64", shape=[2]),
}
RAW_CHANGES: dict[str, Change] = {
    "raw entry too many": lambda r: r.raw_input_contents.append(b""),
    "raw entry for an input that is not there": lambda r: r.ClearField("inputs"),
    "raw a byte short": lambda r: r.raw_input_contents.__setitem__(0, r.raw_input_contents[0][:-1]),
    "raw a byte long": lambda r: r.raw_input_contents.__setitem__(
        0, r.raw_input_contents[0] + b"\0"
    ),
    "raw empty": lambda r: r.raw_input_contents.__setitem__(0, b""),
    "raw and typed": lambda r: r.inputs[0].contents.fp64_contents.append(1.0),
    "raw of half the width": set_datatype("FP32"),
    "raw of an eighth": set_datatype("INT8"),
    "raw BF16 of another size": set_datatype("BF16"),
}
TYPED_CHANGES: dict[str, Change] = {
    "no contents": lambda r: r.inputs[0].ClearField("contents"),
    "a value short": lambda r: r.inputs[0].contents.fp64_contents.pop(),
    "a value too many": lambda r: r.inputs[0].contents.fp64_contents.append(1.0),
    "two kinds of contents": lambda r: r.inputs[0].contents.fp32_contents.append(1.0),
    "FP16 has no typed contents": set_datatype("FP16"),
    "BF16 has no typed contents": set_datatype("BF16"),
}


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("name", MATRIX_CHANGES)
def test_changed_matrix_is_refused(client: Client, name: str, raw: bool) -> None:
    request = valid_matrix(raw=raw)
    MATRIX_CHANGES[name](request)
    refuse(client, request)


@pytest.mark.parametrize("name", RAW_CHANGES)
def test_changed_raw_contents_are_refused(client: Client, name: str) -> None:
    request = valid_matrix()
    RAW_CHANGES[name](request)
    refuse(client, request)


@pytest.mark.parametrize("name", TYPED_CHANGES)
def test_changed_typed_contents_are_refused(client: Client, name: str) -> None:
    request = valid_matrix(raw=False)
    TYPED_CHANGES[name](request)
    refuse(client, request)


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        (datatype, field)
        for datatype, own in [
            ("INT8", "int_contents"),
            ("INT64", "int64_contents"),
            ("UINT8", "uint_contents"),
            ("UINT64", "uint64_contents"),
            ("FP32", "fp32_contents"),
            ("FP64", "fp64_contents"),
        ]
        for field in [
            "bool_contents",
            "int_contents",
            "int64_contents",
            "uint_contents",
            "uint64_contents",
            "fp32_contents",
            "fp64_contents",
            "bytes_contents",
        ]
        if field != own
    ],
)
def test_contents_of_another_datatype_are_refused(
    client: Client, datatype: str, field: str
) -> None:
    request = valid_matrix(raw=False)
    tensor = request.inputs[0]
    tensor.datatype = datatype
    tensor.contents.Clear()
    value: Any = b"1" if field == "bytes_contents" else field == "bool_contents" or 1
    getattr(tensor.contents, field).extend([value] * 60)
    refuse(client, request, field)


@pytest.mark.parametrize(
    ("datatype", "field", "value"),
    [
        ("INT8", "int_contents", 128),
        ("INT8", "int_contents", -129),
        ("INT16", "int_contents", 32_768),
        ("UINT8", "uint_contents", 256),
        ("UINT16", "uint_contents", 65_536),
    ],
)
def test_typed_value_out_of_its_datatypes_range_is_refused(
    client: Client, datatype: str, field: str, value: int
) -> None:
    request = valid_matrix(raw=False)
    tensor = request.inputs[0]
    tensor.datatype = datatype
    tensor.contents.Clear()
    getattr(tensor.contents, field).extend([value] * 60)
    refuse(client, request, "out of range")


def test_every_truncated_message_is_refused(client: Client) -> None:
    """The raw contents come last, so that no shorter message is a valid one."""
    message = valid_matrix().SerializeToString()
    for size in [*range(70), *range(70, len(message), 7), len(message) - 1]:
        refuse(client, message[:size])


def test_random_bytes_are_refused(client: Client) -> None:
    generator = np.random.default_rng(11)
    for size in generator.integers(1, 400, 60):
        refuse(client, generator.bytes(int(size)))


def test_message_with_random_bytes_changed_is_refused_or_answered(
    cancer: Server, client: Client
) -> None:
    """Any of them may still be valid; what must not happen is a fault of the server."""
    generator = np.random.default_rng(12)
    message = valid_matrix(raw=False).SerializeToString()
    refused = 0
    for _ in range(200):
        changed = bytearray(message)
        for at in generator.integers(0, 70, 3):
            changed[at] = generator.integers(0, 256)
        error = client.attempt(bytes(changed))
        if error is not None:
            assert error.code() in REFUSALS, error.details()
            refused += 1
    assert refused > 150
    assert 'reason="Internal"' not in cancer.metrics() or count_internal(cancer) == 0


def count_internal(server: Server) -> float:
    lines = [line for line in server.metrics().splitlines() if 'reason="Internal"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_message_of_millions_of_empty_parts_is_refused_before_it_is_parsed(
    client: Client,
) -> None:
    for field in (5, 6, 7):  # inputs, outputs, raw_input_contents
        refuse(client, bytes([field << 3 | 2, 0]) * 1_000_000, "more than")


def test_large_message_that_is_cut_short_is_refused(client: Client) -> None:
    message = matrix_request(np.ones((2000, 30))).SerializeToString()
    refuse(client, message[:-1])
    refuse(client, message + b"\x08")
    refuse(client, message + b"\x08\x01")


def flights_request(*, raw: bool = True) -> Any:
    request = pb.ModelInferRequest(model_name="flights")
    for name, datatype in (
        ("carrier", "BYTES"),
        ("distance", "FP64"),
        ("hour", "INT64"),
        ("weekend", "BOOL"),
    ):
        request.inputs.add(name=name, datatype=datatype, shape=[1])
    if raw:
        request.raw_input_contents.extend(
            [
                join_texts(["UA"]),
                np.array([1.0]).tobytes(),
                np.array([8], "<i8").tobytes(),
                b"\1",
            ]
        )
        return request
    request.inputs[0].contents.bytes_contents.append(b"UA")
    request.inputs[1].contents.fp64_contents.append(1.0)
    request.inputs[2].contents.int64_contents.append(8)
    request.inputs[3].contents.bool_contents.append(True)
    return request


def set_raw(index: int, data: bytes) -> Change:
    return lambda request: request.raw_input_contents.__setitem__(index, data)


FLIGHT_CHANGES: dict[str, Change] = {
    "an input missing": lambda r: (r.inputs.pop(), r.raw_input_contents.pop()),
    "an input renamed": lambda r: setattr(r.inputs[2], "name", "minute"),
    "the first twice": lambda r: setattr(r.inputs[1], "name", "carrier"),
    "another number of rows": lambda r: (
        r.inputs[2].shape.__setitem__(0, 2),
        r.raw_input_contents.__setitem__(2, bytes(16)),
    ),
    "text without its length": set_raw(0, b"UA"),
    "text shorter than its length": set_raw(0, b"\3\0\0\0UA"),
    "text of a huge length": set_raw(0, b"\xff\xff\xff\xffUA"),
    "bytes after the text": set_raw(0, join_texts(["UA"]) + b"\0"),
    "two texts for one row": set_raw(0, join_texts(["UA", "B6"])),
    "no text": set_raw(0, b""),
    "text that is not UTF-8": set_raw(0, b"\2\0\0\0\xff\xfe"),
    "text of 4,097 bytes": set_raw(0, join_texts(["x" * 4097])),
    "a flag of 2": set_raw(3, b"\2"),
    "a flag of 255": set_raw(3, b"\xff"),
    "numbers for text": lambda r: (
        setattr(r.inputs[0], "datatype", "INT64"),
        r.raw_input_contents.__setitem__(0, bytes(8)),
    ),
    "flags for numbers": lambda r: (
        setattr(r.inputs[2], "datatype", "BOOL"),
        r.raw_input_contents.__setitem__(2, b"\1"),
    ),
    "numbers for flags": lambda r: (
        setattr(r.inputs[3], "datatype", "UINT8"),
        r.raw_input_contents.__setitem__(3, b"\1"),
    ),
    "NaN in a required feature": lambda r: (
        setattr(r.inputs[2], "datatype", "FP64"),
        r.raw_input_contents.__setitem__(2, np.array([np.nan]).tobytes()),
    ),
    "two columns": lambda r: (
        r.inputs[2].shape.append(2),
        r.raw_input_contents.__setitem__(2, bytes(16)),
    ),
}


def test_unchanged_requests_of_the_changes_are_answered(client: Client, flights: Client) -> None:
    for raw in (True, False):
        assert client.infer(valid_matrix(raw=raw)).outputs
        assert flights.infer(flights_request(raw=raw)).outputs


@pytest.mark.parametrize("name", FLIGHT_CHANGES)
def test_changed_columns_are_refused(flights: Client, name: str) -> None:
    request = flights_request()
    FLIGHT_CHANGES[name](request)
    refuse(flights, request)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"x" * 4097], ids=["not UTF-8", "4,097 bytes"])
def test_typed_text_is_refused_like_raw_text(flights: Client, text: bytes) -> None:
    request = flights_request(raw=False)
    request.inputs[0].contents.bytes_contents[0] = text
    refuse(flights, request, "element 0")
