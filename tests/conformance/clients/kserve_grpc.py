"""The kserve client over gRPC."""

import asyncio
import importlib
from typing import Any

from kserve_rest import check_answer, request
from script import REQUEST_ID, UNKNOWN, Script, Served, open_script

_clients: Any = importlib.import_module("kserve.inference_client")


def typed_request(served: Served) -> Any:
    """A request whose values are typed contents; BYTES cannot be had raw here."""
    return request(served, binary=False)


async def run(script: Script) -> None:
    """The script, in one event loop."""
    served, text = script.numeric, script.text
    client = _clients.InferenceGRPCClient(served.grpc_host, retries=0, timeout=20)
    with script.check("live"):
        assert await client.is_server_live()
    with script.check("ready"):
        assert await client.is_server_ready()
    with script.check("model ready"):
        assert await client.is_model_ready(served.model)
    with script.check("gRPC raw"):
        check_answer(served, await client.infer(request(served, binary=True)))
    with script.check("gRPC typed"):
        check_answer(served, await client.infer(typed_request(served)))
    with script.check("id echo"):
        assert (await client.infer(request(served, binary=True))).id == REQUEST_ID
    with script.check("outputs selection"):
        one = request(served, binary=True, outputs=["probability"])
        found = [each.name for each in (await client.infer(one)).outputs]
        assert found == ["probability"], f"asked for probability, got {found}"
    with script.refuses("unknown model", "NOT_FOUND"):
        wrong = request(served, binary=True)
        wrong.model_name = UNKNOWN
        await client.infer(wrong)
    with script.refuses("unknown output", "INVALID_ARGUMENT"):
        await client.infer(request(served, binary=True, outputs=["nothing"]))
    with script.check("text gRPC"):
        other = _clients.InferenceGRPCClient(text.grpc_host, retries=0, timeout=20)
        check_answer(text, await other.infer(typed_request(text)))
        await other.close()
    await client.close()


def main() -> None:
    """Run the script."""
    script = open_script()
    asyncio.run(run(script))
    script.report()


if __name__ == "__main__":
    main()
