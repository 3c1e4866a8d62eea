"""Metadata documents of the protocol."""

from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.signature import Signature

SERVER_NAME = "mooring"


def describe_server(version: str) -> dict[str, object]:
    """`GET /v2`."""
    return {"name": SERVER_NAME, "version": version, "extensions": ["feedback"]}


def describe_model(
    signature: Signature, *, name: str, version: str, model_format: str
) -> dict[str, object]:
    """`GET /v2/models/NAME`: one tensor a feature; -1 is the number of rows."""
    return {
        "name": name,
        "versions": [version],
        "platform": "onnx_onnxv1" if model_format == "onnx" else f"mooring_{model_format}",
        "inputs": [
            {"name": feature.name, "datatype": feature.datatype, "shape": [-1]}
            for feature in signature.features
        ],
        "outputs": [
            {
                "name": output.name,
                "datatype": output.datatype,
                "shape": [-1] if output.width == 1 else [-1, output.width],
            }
            for output in signature.outputs
        ],
        "parameters": {
            "max_batch_rows": signature.max_rows,
            "accepts_matrix": signature.accepts_matrix,
            "text_inputs": sum(item.datatype is Datatype.BYTES for item in signature.features),
        },
    }
