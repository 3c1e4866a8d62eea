"""The kserve client over REST, protocol v2."""

import asyncio
import importlib
from typing import Any

from script import REQUEST_ID, UNKNOWN, Script, Served, open_script

_kserve: Any = importlib.import_module("kserve")
_clients: Any = importlib.import_module("kserve.inference_client")


def request(served: Served, *, binary: bool, outputs: list[str] | None = None) -> Any:
    """One request of the client's own types."""
    tensors: list[Any] = []
    if served.matrix is not None:
        found = _kserve.InferInput("input", list(served.values.shape), "FP64")
        found.set_data_from_numpy(served.values, binary_data=binary)
        tensors.append(found)
    else:
        for name, tensor in served.inputs.items():
            column = served.column(name)
            found = _kserve.InferInput(name, list(column.shape), tensor["datatype"])
            found.set_data_from_numpy(column, binary_data=binary)
            tensors.append(found)
    wanted = outputs or list(served.outputs)
    types: Any = importlib.import_module("kserve.protocol.infer_type")
    named = [types.RequestedOutput(name, {"binary_data": binary}) for name in wanted]
    return _kserve.InferRequest(
        model_name=served.model,
        infer_inputs=tensors,
        request_id=REQUEST_ID,
        request_outputs=named,
    )


def check_answer(served: Served, answer: Any) -> None:
    """All outputs are right."""
    by_name = {each.name: each for each in answer.outputs}
    for name in served.outputs:
        served.check_output(name, by_name[name].as_numpy())


async def run(script: Script) -> None:
    """The script, in one event loop."""
    served, text = script.numeric, script.text
    client = _clients.InferenceRESTClient(_clients.RESTConfig(protocol="v2", retries=0))
    base = f"http://{served.host}"

    async def infer(asked: Any) -> Any:
        return await client.infer(base, asked, served.model)

    with script.check("live"):
        assert await client.is_server_live(base)
    with script.check("ready"):
        assert await client.is_server_ready(base)
    with script.check("model ready"):
        assert await client.is_model_ready(base, served.model)
    with script.check("JSON in, JSON out"):
        check_answer(served, await infer(request(served, binary=False)))
    with script.check("binary in, binary out"):
        check_answer(served, await infer(request(served, binary=True)))
    with script.check("id echo"):
        answer = await infer(request(served, binary=False))
        assert answer.id == REQUEST_ID
    with script.check("outputs selection"):
        one = request(served, binary=False, outputs=["probability"])
        found = [each.name for each in (await infer(one)).outputs]
        assert found == ["probability"], f"asked for probability, got {found}"
    with script.refuses("unknown model", "404"):
        wrong = request(served, binary=False)
        wrong.model_name = UNKNOWN
        await client.infer(base, wrong, UNKNOWN)
    with script.refuses("unknown output", "400"):
        await infer(request(served, binary=False, outputs=["nothing"]))
    other = f"http://{text.host}"

    async def infer_text(asked: Any) -> Any:
        return await client.infer(other, asked, text.model)

    with script.check("text JSON"):
        check_answer(text, await infer_text(request(text, binary=False)))
    with script.check("text binary"):
        check_answer(text, await infer_text(request(text, binary=True)))


def main() -> None:
    """Run the script."""
    script = open_script()
    asyncio.run(run(script))
    script.report()


if __name__ == "__main__":
    main()
