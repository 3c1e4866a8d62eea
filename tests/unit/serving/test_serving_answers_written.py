"""Answers that are written piece by piece are what a library writes of the whole."""

from dataclasses import replace

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from mooring_serving.conversation import Reply
from mooring_serving.grpc.codec import encode_reply
from mooring_serving.grpc.proto import open_inference_pb2 as pb
from mooring_serving.protocol.binary import encode_raw
from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.encode import encode_answer, shape_of
from mooring_serving.protocol.messages import Column, InferenceRequest
from mooring_serving.protocol.signature import Output, Signature, build_signature

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
LABEL = Output("label", Datatype.INT64, 1)
TEXTS = Output('why ?"é', Datatype.BYTES, 1)
SCORES = Output("probability", Datatype.FP64, 3)
FLAG = Output("flag", Datatype.BOOL, 1)


def signature() -> Signature:
    return replace(build_signature([], [], max_rows=4096), outputs=(LABEL, TEXTS, SCORES, FLAG))


def columns(rows: int, seed: int) -> dict[str, Column]:
    generator = np.random.default_rng(seed)
    texts = np.empty(rows, object)
    texts[:] = [f"é{number}\n" for number in generator.integers(0, 99, rows)]
    return {
        LABEL.name: generator.integers(-(2**40), 2**40, rows),
        TEXTS.name: texts,
        SCORES.name: generator.random((rows, 3)),
        FLAG.name: generator.random(rows) > 0.5,
    }


CHOICES = st.none() | st.lists(
    st.sampled_from([LABEL.name, TEXTS.name, SCORES.name, FLAG.name]), unique=True, max_size=4
).map(tuple)
ROWS = st.integers(1, 300)
SEEDS = st.integers(0, 2**32)


def request_of(
    rows: int, outputs: tuple[str, ...] | None, identity: str | None
) -> InferenceRequest:
    return InferenceRequest(identity, {}, rows, outputs, {})


@given(
    rows=ROWS, seed=SEEDS, chosen=CHOICES, identity=st.none() | TEXT, names=st.tuples(TEXT, TEXT),
    receipt=TEXT,
)  # fmt: skip
def test_json_answer_is_the_bytes_that_the_library_writes(
    rows: int,
    seed: int,
    chosen: tuple[str, ...] | None,
    identity: str | None,
    names: tuple[str, str],
    receipt: str,
) -> None:
    values, known = columns(rows, seed), signature()
    outputs = [output for output in known.outputs if chosen is None or output.name in chosen]
    if chosen is not None:
        outputs.sort(key=lambda output: chosen.index(output.name))
    document: dict[str, object] = {
        "model_name": names[0],
        "model_version": names[1],
        "outputs": [
            {
                "name": output.name,
                "datatype": output.datatype,
                "shape": shape_of(output, rows),
                "data": values[output.name].ravel().tolist(),
            }
            for output in outputs
        ],
        "parameters": {"prediction_id": receipt},
    }
    if identity is not None:
        document["id"] = identity
    request = request_of(rows, chosen, identity)
    given = encode_answer(request, known, values, model=names, prediction_id=receipt)
    assert given == orjson.dumps(document)


@given(
    rows=ROWS, seed=SEEDS, chosen=CHOICES, identity=st.none() | TEXT, names=st.tuples(TEXT, TEXT),
    receipt=TEXT,
)  # fmt: skip
def test_raw_grpc_answer_is_the_message_that_the_library_writes(
    rows: int,
    seed: int,
    chosen: tuple[str, ...] | None,
    identity: str | None,
    names: tuple[str, str],
    receipt: str,
) -> None:
    values, known = columns(rows, seed), signature()
    message = pb.ModelInferResponse(model_name=names[0], model_version=names[1], id=identity or "")
    message.parameters["prediction_id"].string_param = receipt
    by_name = {output.name: output for output in known.outputs}
    for name in by_name if chosen is None else chosen:
        output = by_name[name]
        message.outputs.add(name=name, datatype=output.datatype.value, shape=shape_of(output, rows))
        message.raw_output_contents.append(encode_raw(values[name].ravel(), output.datatype))
    request = request_of(rows, chosen, identity)
    reply = Reply(request, values, receipt, names[1], "revision", 0.1)
    given = encode_reply(reply, known, model=names[0], raw=True)
    assert given == message.SerializeToString(deterministic=True)
