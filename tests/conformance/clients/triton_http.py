"""tritonclient over HTTP: tensors as JSON and as binary, both ways, compressed and not."""

import importlib
import itertools
from typing import Any

from script import REQUEST_ID, UNKNOWN, Script, Served, open_script

_http: Any = importlib.import_module("tritonclient.http")


def inputs(served: Served, *, binary: bool) -> list[Any]:
    """The request's tensors: one matrix where the model takes one, else one a feature."""
    if served.matrix is not None:
        found = _http.InferInput("input", list(served.values.shape), "FP64")
        found.set_data_from_numpy(served.values, binary_data=binary)
        return [found]
    tensors: list[Any] = []
    for name, tensor in served.inputs.items():
        column = served.column(name)
        found = _http.InferInput(name, list(column.shape), tensor["datatype"])
        found.set_data_from_numpy(column, binary_data=binary)
        tensors.append(found)
    return tensors


def outputs(served: Served, *, binary: bool) -> list[Any]:
    """Every output, named."""
    return [_http.InferRequestedOutput(name, binary_data=binary) for name in served.outputs]


def check_answer(served: Served, answer: Any) -> None:
    """All outputs are right."""
    for name in served.outputs:
        served.check_output(name, answer.as_numpy(name))


def look_around(script: Script, client: Any, served: Served) -> None:
    """Health, readiness and metadata."""
    with script.check("live"):
        assert client.is_server_live()
    with script.check("ready"):
        assert client.is_server_ready()
    with script.check("model ready"):
        assert client.is_model_ready(served.model)
        assert not client.is_model_ready(UNKNOWN), "an unknown model is ready"
    with script.check("server metadata"):
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    with script.check("model metadata"):
        metadata = client.get_model_metadata(served.model)
        assert metadata["name"] == served.model
        assert metadata["platform"], "the platform is empty"
        assert {each["name"] for each in metadata["outputs"]} == set(served.outputs)
        assert metadata["inputs"], "there are no inputs"
    with script.check("versions"):
        assert served.version in client.get_model_metadata(served.model)["versions"]
        assert client.is_model_ready(served.model, served.version)
        assert client.get_model_metadata(served.model, served.version)["name"] == served.model
        check_answer(
            served, client.infer(served.model, inputs(served, binary=False), served.version)
        )
    with script.refuses("wrong version", "404"):
        client.infer(served.model, inputs(served, binary=False), "v-none")


def infer(script: Script, client: Any, served: Served) -> None:
    """Predictions in each combination that the client knows."""
    compressions: list[str | None] = [None, "gzip", "deflate"]
    kinds = ("JSON", "binary")
    for sent, wanted, packed in itertools.product(kinds, kinds, compressions):
        name = packed or f"{sent} in, {wanted} out"
        with script.check(name):
            answer = client.infer(
                served.model,
                inputs(served, binary=sent == "binary"),
                outputs=outputs(served, binary=wanted == "binary"),
                request_id=REQUEST_ID,
                request_compression_algorithm=packed,
                response_compression_algorithm=packed,
            )
            check_answer(served, answer)
            assert answer.get_response()["id"] == REQUEST_ID
    with script.check("defaults"):  # binary both ways, no output named, no content type
        check_answer(served, client.infer(served.model, inputs(served, binary=True)))
    with script.check("id echo"):
        answer = client.infer(served.model, inputs(served, binary=False), request_id=REQUEST_ID)
        assert answer.get_response()["id"] == REQUEST_ID
    with script.check("outputs selection"):
        one = _http.InferRequestedOutput("probability", binary_data=False)
        answer = client.infer(served.model, inputs(served, binary=False), outputs=[one])
        found = [each["name"] for each in answer.get_response()["outputs"]]
        assert found == ["probability"], f"asked for probability, got {found}"


def refuse(script: Script, client: Any, served: Served) -> None:
    """What must be an error, and which."""
    with script.refuses("unknown model", "404"):
        client.infer(UNKNOWN, inputs(served, binary=False))
    with script.refuses("unknown output", "400"):
        one = _http.InferRequestedOutput("nothing", binary_data=False)
        client.infer(served.model, inputs(served, binary=False), outputs=[one])
    with script.refuses("wrong shape", "400"):
        half = _http.InferInput("input", [4, 7], "FP64")
        half.set_data_from_numpy(served.values[:4, :7], binary_data=False)
        client.infer(served.model, [half])


def main() -> None:
    """Run the script."""
    script = open_script()
    served, text = script.numeric, script.text
    client = _http.InferenceServerClient(served.host)
    look_around(script, client, served)
    infer(script, client, served)
    refuse(script, client, served)
    other = _http.InferenceServerClient(text.host)
    with script.check("text JSON"):
        check_answer(text, other.infer(text.model, inputs(text, binary=False)))
        one = outputs(text, binary=False)
        check_answer(text, other.infer(text.model, inputs(text, binary=False), outputs=one))
    with script.check("text binary"):
        check_answer(text, other.infer(text.model, inputs(text, binary=True)))
    script.report()


if __name__ == "__main__":
    main()
