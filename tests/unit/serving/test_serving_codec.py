"""Decoding: any bytes give a request or a refusal, and what is accepted is exact."""

from dataclasses import dataclass

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_serving.answers import count_disagreements, read_answer
from mooring_serving.errors import RequestRefused
from mooring_serving.limits import TensorLimits
from mooring_serving.protocol.codec import decode_request
from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.depth import exceeds_depth
from mooring_serving.protocol.encode import encode_answer, encode_request
from mooring_serving.protocol.messages import InferenceRequest, MatrixColumns
from mooring_serving.protocol.signature import Signature, build_signature
from mooring_serving.protocol.tensors import build_numbers

LIMITS = TensorLimits()


@dataclass(frozen=True)
class Spec:
    name: str
    datatype: str
    nullable: bool = False
    categories: tuple[str, ...] | None = None
    width: int = 1


OUTPUTS = [Spec("label", "INT64"), Spec("probability", "FP64")]
NUMBERS = build_signature([Spec("a", "FP64"), Spec("b", "INT64", True)], OUTPUTS, max_rows=8)
MIXED = build_signature(
    [Spec("x", "FP64", True), Spec("who", "BYTES", True), Spec("flag", "BOOL")],
    OUTPUTS,
    max_rows=8,
)


def tensor(name: str, datatype: str, data: object, shape: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "data": data, "shape": shape}


def decode(signature: Signature, *tensors: dict[str, object]) -> InferenceRequest:
    return decode_request(orjson.dumps({"inputs": list(tensors)}), signature, LIMITS)


def refusal_of(body: bytes) -> int | None:
    """The status with which a body is refused, None when it is accepted."""
    try:
        decode_request(body, NUMBERS, LIMITS)
    except RequestRefused as refusal:
        return refusal.status if 0 < len(str(refusal)) < 600 else 500
    return None


@pytest.mark.parametrize("data", [[1, 2.5, 3, None], [[1, 2.5], [3, None]]], ids=["flat", "nested"])
def test_matrix_is_decoded_when_it_comes(data: object) -> None:
    request = decode(NUMBERS, tensor("input", "FP64", data, [2, 2]))
    assert isinstance(request.columns, MatrixColumns)
    np.testing.assert_array_equal(request.columns["a"], [1, 3])
    np.testing.assert_array_equal(request.columns["b"], [2.5, np.nan])


@pytest.mark.parametrize(
    ("shape", "data"), [([2], [1.5, None]), ([2, 1], [1.5, None]), ([2, 1], [[1.5], [None]])]
)
def test_column_is_decoded_in_each_shape_the_protocol_allows(shape: object, data: object) -> None:
    request = decode(
        MIXED,
        tensor("x", "FP32", data, shape),
        tensor("who", "BYTES", ["é", None], [2]),
        tensor("flag", "BOOL", [True, False], [2]),
    )
    np.testing.assert_array_equal(request.columns["x"], [1.5, np.nan])
    assert request.columns["who"].tolist() == ["é", None]
    assert request.columns["flag"].dtype == np.bool_


def test_integers_keep_their_exact_value_at_the_edges_of_their_datatype() -> None:
    request = decode(NUMBERS, tensor("a", "INT8", [-128], [1]), tensor("b", "UINT8", [255], [1]))
    assert (request.columns["a"][0], request.columns["b"][0]) == (-128, 255)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_request_or_a_refusal(body: bytes) -> None:
    assert refusal_of(body) in (None, 400)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["name", "datatype", "shape", "data", "inputs", "parameters", "id", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", "input", "x"]) | JSON,
        "datatype": st.sampled_from(["FP64", "INT64", "BYTES", "BOOL", "INT8"]) | JSON,
        "shape": st.lists(st.integers(-1, 9), max_size=3) | JSON,
        "data": st.lists(st.floats(allow_nan=False) | st.none(), max_size=9) | JSON,
        "parameters": JSON,
    },
)


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {"inputs": st.lists(TENSOR, max_size=3) | JSON},
        optional={"id": JSON, "outputs": JSON, "parameters": JSON},
    )
)
def test_any_document_gives_rows_within_the_limits_or_a_refusal(document: object) -> None:
    try:
        body = orjson.dumps(document)
    except TypeError:  # integers beyond 64 bits cannot be written
        return
    if refusal_of(body) is None:
        request = decode_request(body, NUMBERS, LIMITS)
        assert 1 <= request.rows <= 8
        assert all(column.shape == (request.rows,) for column in request.columns.values())


@pytest.mark.parametrize(
    ("text", "exceeds"),
    [
        (b"[" * 16 + b"]" * 16, False),
        (b"[" * 17 + b"]" * 17, True),
        (b'{"a":' * 17 + b"1" + b"}" * 17, True),
        (b'["' + b"[" * 400 + b'"]', False),
        (b"[" + b",".join([b"[1]"] * 400) + b"]", False),
        (b"1", False),
    ],
    ids=["at limit", "one more", "objects", "in text", "wide", "a number"],
)
def test_depth_is_that_of_arrays_and_objects(text: bytes, exceeds: bool) -> None:
    assert exceeds_depth(orjson.loads(text), 16) is exceeds


@pytest.mark.parametrize("count", [3, 300], ids=["few", "many"])
@pytest.mark.parametrize(
    ("odd", "datatype", "message"),
    [
        (True, "FP64", "value 1 is True"),
        (False, "INT64", "value 1 is False"),
        ("1", "FP64", "value 1 is '1'"),
        (None, "FP64", "null is not accepted"),
        ([1], "FP64", "value 1 is a list"),
        (1.5, "INT64", "value 1 is 1.5"),
        (2**63, "INT64", "out of range"),
        (300, "INT8", "out of range"),
        (-1, "UINT64", "out of range"),
    ],
)
def test_odd_value_is_named_whether_there_are_few_or_many(
    odd: object, datatype: str, message: str, count: int
) -> None:
    values: list[object] = [7] * count
    values[1] = odd
    with pytest.raises(RequestRefused, match=message):
        build_numbers("x", values, Datatype(datatype), nullable=False)


@pytest.mark.parametrize("seed", range(5))
def test_many_numbers_are_decoded_like_few(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values: list[object] = [
        *generator.integers(-(2**63), 2**63 - 1, 200).tolist(),
        *generator.normal(0, 10.0 ** generator.integers(-300, 37), 200).tolist(),
        *(0, 1, 0.0, 1.0, -0.0, 5e-324, 3.4e38),
    ]
    many = build_numbers("x", values, Datatype.FP64, nullable=False)
    np.testing.assert_array_equal(many, np.array(values, dtype=np.float64))


def test_answer_reads_back_what_was_written() -> None:
    request = decode(NUMBERS, tensor("a", "FP64", [1, 2], [2]), tensor("b", "FP64", [1, 2], [2]))
    values = {"label": np.array([0, 1]), "probability": np.array([0.25, 0.75])}
    body = encode_answer(request, NUMBERS, values, model=("m", "v"), prediction_id="r")
    found = read_answer(body, request, NUMBERS)
    assert found is not None
    assert found.prediction_id == "r"
    assert {name: array.tolist() for name, array in found.values.items()} == {
        "label": [0, 1],
        "probability": [0.25, 0.75],
    }


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [{"name": "label", "data": [0, 1]}],
        [{"name": "label", "data": [0, 1]}, {"name": "probability", "data": [0.5]}],
        [{"name": "label", "data": [0, 1]}, {"name": "probability", "data": [0.5, None]}],
        [{"name": "label", "data": [0, 1]}, {"name": "probability", "data": [0.5, "x"]}],
        [{"name": "label", "data": [0, True]}, {"name": "probability", "data": [0.5, 0.5]}],
        "none",
    ],
    ids=["no outputs", "one missing", "too short", "null", "text", "boolean", "not a list"],
)
def test_answer_of_another_pod_is_unusable_when_a_value_is_not(outputs: object) -> None:
    request = decode(NUMBERS, tensor("a", "FP64", [1, 2], [2]), tensor("b", "FP64", [1, 2], [2]))
    assert read_answer(orjson.dumps({"outputs": outputs}), request, NUMBERS) is None


def test_disagreement_is_another_label_or_a_number_beyond_the_tolerance() -> None:
    texts = [{"label": np.array(["a", last], dtype=object)} for last in "bc"]
    labels = count_disagreements(texts[0], texts[1], rows=2, scale=1)
    ours = {"prediction": np.array([1.0, 2.0, 3.0])}
    theirs = {"prediction": np.array([1.0, 2.0 + 9e-5, 3.1])}
    assert labels == 1
    assert count_disagreements(ours, theirs, rows=3, scale=100) == 1


def test_request_written_for_another_pod_reads_back_the_same() -> None:
    request = decode(NUMBERS, tensor("a", "FP64", [1, 2], [2]), tensor("b", "FP64", [3, 4], [2]))
    again = decode_request(encode_request(request, NUMBERS), NUMBERS, LIMITS)
    assert {name: again.columns[name].tolist() for name in ("a", "b")} == {
        "a": [1.0, 2.0],
        "b": [3.0, 4.0],
    }


def test_answer_of_another_pod_may_lack_what_only_explains_it() -> None:
    inputs = [Spec("a", "FP64"), Spec("b", "FP64")]
    signature = build_signature(inputs, [*OUTPUTS, Spec("rule", "BYTES")], max_rows=8)
    tensors = [tensor("a", "FP64", [1], [1]), tensor("b", "FP64", [1], [1])]
    request = decode(signature, *tensors)
    given = [{"name": "label", "data": [1]}, {"name": "probability", "data": [0.5]}]
    found = read_answer(orjson.dumps({"outputs": given}), request, signature)
    assert found is not None
    assert list(found.values) == ["label", "probability"]
    body = encode_answer(request, signature, found.values, model=("m", "v"), prediction_id="")
    assert [item["name"] for item in orjson.loads(body)["outputs"]] == ["label", "probability"]
    asked = decode_request(
        orjson.dumps({"inputs": tensors, "outputs": [{"name": "rule"}]}), signature, LIMITS
    )
    assert read_answer(orjson.dumps({"outputs": given}), asked, signature) is None
