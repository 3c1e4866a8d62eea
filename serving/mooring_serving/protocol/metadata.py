"""Metadata documents of the protocol."""

from mooring_serving.protocol.signature import Feature, Signature

SERVER_NAME = "mooring"
EXTENSIONS = ("binary_tensor_data", "feedback")


def describe_server(version: str) -> dict[str, object]:
    """`GET /v2`."""
    return {"name": SERVER_NAME, "version": version, "extensions": list(EXTENSIONS)}


def describe_platform(model_format: str) -> str:
    """The protocol's platform: `<project>_<format>`."""
    return "onnx_onnxv1" if model_format == "onnx" else f"mooring_{model_format}"


def describe_model(
    signature: Signature, *, name: str, version: str, model_format: str
) -> dict[str, object]:
    """`GET /v2/models/NAME`: one tensor a feature; -1 is the number of rows."""
    return {
        "name": name,
        "versions": [version],
        "platform": describe_platform(model_format),
        "inputs": [_describe_feature(feature) for feature in signature.features],
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
        },
    }


def _describe_feature(feature: Feature) -> dict[str, object]:
    """A feature's tensor; parameters of the protocol are texts, numbers and flags, not lists."""
    parameters: dict[str, object] = {"nullable": feature.nullable}
    if feature.categories is not None:
        parameters["categories"] = len(feature.categories)
        parameters["other_categories"] = "answered, and counted as unseen"
    return {
        "name": feature.name,
        "datatype": feature.datatype,
        "shape": [-1],
        "parameters": parameters,
    }
