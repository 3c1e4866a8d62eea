"""Answers and forwarded requests as JSON bodies."""

import functools
from collections.abc import Sequence

import numpy as np
import orjson

from mooring_serving.protocol.datatypes import FLOATS, Datatype
from mooring_serving.protocol.messages import Column, InferenceRequest, OutputArrays
from mooring_serving.protocol.signature import Output, Signature


def select_outputs(
    request: InferenceRequest, signature: Signature, values: OutputArrays
) -> Sequence[Output]:
    """The outputs that a client gets, in its order: those of its choice that the answer has."""
    if request.outputs is None:
        if len(values) == len(signature.outputs):
            return signature.outputs
        return [output for output in signature.outputs if output.name in values]
    by_name = {output.name: output for output in signature.outputs}
    return [by_name[name] for name in request.outputs]


def shape_of(output: Output, rows: int) -> list[int]:
    """An output's shape for so many rows."""
    return [rows] if output.width == 1 else [rows, output.width]


def encode_answer(
    request: InferenceRequest,
    signature: Signature,
    values: OutputArrays,
    *,
    model: tuple[str, str],
    prediction_id: str,
) -> bytes:
    """The answer's body.

    Args:
        request: Its id is echoed; its selection of outputs decides what is sent, in that order.
        signature: Names, datatypes and widths of the outputs.
        values: The outputs, all finite.
        model: Name and version.
        prediction_id: The receipt.
    """
    parts = [_document_start(*model)]
    rows = request.rows
    for output in select_outputs(request, signature, values):
        shape = b"%d" % rows if output.width == 1 else b"%d,%d" % (rows, output.width)
        data = orjson.dumps(values[output.name].ravel().tolist())
        parts += (_tensor_start(output.name, output.datatype), shape, b'],"data":', data, b"},")
    # The last comma between tensors becomes the end of their list.
    parts[-1] = b"}" if len(parts) > 1 else parts[-1]
    parts += (b'],"parameters":{"prediction_id":', orjson.dumps(prediction_id), b"}")
    if request.id is not None:
        parts += (b',"id":', orjson.dumps(request.id))
    parts.append(b"}")
    return b"".join(parts)


@functools.lru_cache(maxsize=64)
def _document_start(name: str, version: str) -> bytes:
    """An answer's JSON up to its tensors, which are the same for every answer of a version."""
    document: dict[str, object] = {"model_name": name, "model_version": version, "outputs": []}
    return orjson.dumps(document)[:-2]


@functools.lru_cache(maxsize=1024)
def _tensor_start(name: str, datatype: Datatype) -> bytes:
    """A tensor's JSON up to its shape."""
    return orjson.dumps({"name": name, "datatype": datatype, "shape": []})[:-2]


def describe_output(output: Output, rows: int) -> dict[str, object]:
    """An output's tensor without its data."""
    return {"name": output.name, "datatype": output.datatype, "shape": shape_of(output, rows)}


def encode_document(
    request: InferenceRequest,
    tensors: Sequence[dict[str, object]],
    *,
    model: tuple[str, str],
    prediction_id: str,
) -> bytes:
    """An answer's JSON around its tensors; see `encode_answer`."""
    document: dict[str, object] = {
        "model_name": model[0],
        "model_version": model[1],
        "outputs": tensors,
        "parameters": {"prediction_id": prediction_id},
    }
    if request.id is not None:
        document["id"] = request.id
    return orjson.dumps(document)


def encode_request(request: InferenceRequest, signature: Signature) -> bytes:
    """A request as a JSON body that another pod decodes to the same, for one that came otherwise.

    Outputs are asked for as JSON, whatever the client wants.
    """
    columns = request.columns
    tensors: list[dict[str, object]] = []
    for feature in signature.features:
        values = _values_of(columns[feature.name].ravel(), feature.datatype)
        tensors.append(
            {
                "name": feature.name,
                "datatype": feature.datatype,
                "shape": [request.rows],
                "data": values,
            }
        )
    document: dict[str, object] = {
        "inputs": tensors,
        "parameters": {
            name: value
            for name, value in request.parameters.items()
            if name != "binary_data_output"
        },
    }
    if request.id is not None:
        document["id"] = request.id
    if request.outputs is not None:
        document["outputs"] = [{"name": name} for name in request.outputs]
    return orjson.dumps(document)


def _values_of(column: Column, datatype: Datatype) -> list[object]:
    """A feature's values as JSON has them: null for missing, integers without a fraction."""
    values: list[object] = column.tolist()
    if column.dtype.kind != "f":
        return values
    if datatype not in FLOATS:
        return [None if np.isnan(value) else int(value) for value in column]
    if bool(np.isnan(column).any()):
        return [None if np.isnan(value) else float(value) for value in column]
    return values
