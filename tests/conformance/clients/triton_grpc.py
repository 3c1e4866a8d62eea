"""tritonclient over gRPC: raw tensors, as it sends them."""

import importlib
from typing import Any

from script import REQUEST_ID, UNKNOWN, Script, Served, open_script

_grpc: Any = importlib.import_module("tritonclient.grpc")


def inputs(served: Served) -> list[Any]:
    """The request's tensors."""
    if served.matrix is not None:
        found = _grpc.InferInput("input", list(served.values.shape), "FP64")
        found.set_data_from_numpy(served.values)
        return [found]
    tensors: list[Any] = []
    for name, tensor in served.inputs.items():
        column = served.column(name)
        found = _grpc.InferInput(name, list(column.shape), tensor["datatype"])
        found.set_data_from_numpy(column)
        tensors.append(found)
    return tensors


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
    with script.check("server metadata"):
        assert client.get_server_metadata().name
    with script.check("model metadata"):
        metadata = client.get_model_metadata(served.model)
        assert metadata.name == served.model
        assert {each.name for each in metadata.outputs} == set(served.outputs)
    with script.check("versions"):
        assert served.version in client.get_model_metadata(served.model).versions
        assert client.is_model_ready(served.model, served.version)
        check_answer(served, client.infer(served.model, inputs(served), served.version))
    with script.refuses("wrong version", "NOT_FOUND"):
        client.infer(served.model, inputs(served), "v-none")


def main() -> None:
    """Run the script."""
    script = open_script()
    served, text = script.numeric, script.text
    client = _grpc.InferenceServerClient(served.grpc_host)
    look_around(script, client, served)
    with script.check("gRPC raw"):
        check_answer(served, client.infer(served.model, inputs(served)))
    for packed in ("gzip", "deflate"):
        with script.check(packed):
            answer = client.infer(served.model, inputs(served), compression_algorithm=packed)
            check_answer(served, answer)
    with script.check("id echo"):
        answer = client.infer(served.model, inputs(served), request_id=REQUEST_ID)
        assert answer.get_response().id == REQUEST_ID
    with script.check("outputs selection"):
        one = [_grpc.InferRequestedOutput("probability")]
        answer = client.infer(served.model, inputs(served), outputs=one).get_response()
        found = [each.name for each in answer.outputs]
        assert found == ["probability"], f"asked for probability, got {found}"
    with script.refuses("unknown model", "NOT_FOUND"):
        client.infer(UNKNOWN, inputs(served))
    with script.refuses("unknown output", "INVALID_ARGUMENT"):
        client.infer(served.model, inputs(served), outputs=[_grpc.InferRequestedOutput("nothing")])
    with script.refuses("wrong shape", "INVALID_ARGUMENT"):
        half = _grpc.InferInput("input", [4, 7], "FP64")
        half.set_data_from_numpy(served.values[:4, :7])
        client.infer(served.model, [half])
    with script.check("text gRPC"):
        other = _grpc.InferenceServerClient(text.grpc_host)
        check_answer(text, other.infer(text.model, inputs(text)))
    script.report()


if __name__ == "__main__":
    main()
