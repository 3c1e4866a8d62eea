"""HTTP by the standard library: every endpoint, and every error a client may cause."""

import gzip
import http.client
import json
import zlib
from collections.abc import Mapping
from typing import Any

from script import REQUEST_ID, UNKNOWN, Script, Served, open_script


def call(
    served: Served,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """Status, JSON body and headers of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", served.http, timeout=20)
    connection.request(method, path, body, dict(headers or {}))
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    found = dict(answer.getheaders())
    packed = {name.lower(): value for name, value in found.items()}
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress}
    raw = unpack.get(packed.get("content-encoding", ""), bytes)(raw)
    return answer.status, json.loads(raw), packed


def infer_body(served: Served, **more: object) -> bytes:
    """A request of all rows."""
    if served.matrix is not None:
        shape = [len(served.matrix), len(served.matrix[0])]
        tensor = {"name": "input", "datatype": "FP64", "shape": shape, "data": served.matrix}
        return json.dumps({"id": REQUEST_ID, "inputs": [tensor], **more}).encode()
    tensors = [
        {"name": name, "datatype": each["datatype"], "shape": [len(each["data"])]}
        | {"data": each["data"]}
        for name, each in served.inputs.items()
    ]
    return json.dumps({"id": REQUEST_ID, "inputs": tensors, **more}).encode()


def infer(served: Served, body: bytes, **headers: str) -> dict[str, Any]:
    """A prediction that must be good.

    Raises:
        AssertionError: It was refused.
    """
    path = f"/v2/models/{served.model}/infer"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, answer, _ = call(served, "POST", path, body, named)
    assert status == 200, f"{status}: {answer}"
    return answer


def check_answer(served: Served, answer: dict[str, Any]) -> None:
    """All outputs are right."""
    by_name = {each["name"]: each["data"] for each in answer["outputs"]}
    for name in served.outputs:
        served.check_output(name, by_name.get(name))


def check_refusal(served: Served, body: bytes | None, wanted: int, **where: str) -> None:
    """A request that must be refused with a status and an error that says something.

    Raises:
        AssertionError: It was not.
    """
    path = where.get("path") or f"/v2/models/{served.model}/infer"
    status, answer, _ = call(served, where.get("method") or "POST", path, body)
    assert status == wanted, f"{status} instead of {wanted}: {answer}"
    assert isinstance(answer.get("error"), str), f"no error in {answer}"
    assert len(answer["error"]) > 5, f"an empty error: {answer}"


def look_around(script: Script, served: Served) -> None:
    """Health, readiness and metadata."""
    for name in ("live", "ready"):
        with script.check(name):
            status, answer, _ = call(served, "GET", f"/v2/health/{name}")
            assert status == 200, f"{status}"
            assert answer[name] is True, f"{answer}"
    with script.check("model ready"):
        assert call(served, "GET", f"/v2/models/{served.model}/ready")[0] == 200
        assert call(served, "GET", f"/v2/models/{UNKNOWN}/ready")[0] == 404
    with script.check("server metadata"):
        for path in ("/v2", "/v2/"):
            status, answer, _ = call(served, "GET", path)
            assert status == 200, f"{path}: {status}"
            assert answer["name"], f"{answer}"
            assert "binary_tensor_data" in answer["extensions"], f"{answer}"
    with script.check("model metadata"):
        answer = call(served, "GET", f"/v2/models/{served.model}")[1]
        assert {each["name"] for each in answer["outputs"]} == set(served.outputs)
        assert answer["platform"], "the platform is empty"
        assert None not in answer.values(), f"a null in {answer}"
    with script.check("versions"):
        base = f"/v2/models/{served.model}/versions/{served.version}"
        assert call(served, "GET", base)[0] == 200
        assert call(served, "GET", f"{base}/ready")[0] == 200
        assert call(served, "POST", f"{base}/infer", infer_body(served))[0] == 200
        assert served.version in call(served, "GET", base)[1]["versions"]
    with script.check("wrong version"):
        path = f"/v2/models/{served.model}/versions/v-none"
        check_refusal(served, None, 404, path=path, method="GET")
        check_refusal(served, infer_body(served), 404, path=f"{path}/infer")


def refuse(script: Script, served: Served) -> None:
    """What must be an error, and which."""
    with script.check("unknown model"):
        check_refusal(served, infer_body(served), 404, path=f"/v2/models/{UNKNOWN}/infer")
    with script.check("unknown output"):
        check_refusal(served, infer_body(served, outputs=[{"name": "nothing"}]), 400)
    with script.check("wrong shape"):
        tensor = {"name": "input", "datatype": "FP64", "shape": [1, 7], "data": [0.0] * 7}
        check_refusal(served, json.dumps({"inputs": [tensor]}).encode(), 400)
        tensor |= {"shape": [2, 30]}
        check_refusal(served, json.dumps({"inputs": [tensor]}).encode(), 400)
    with script.check("malformed"):
        for body in (b"", b"{", b"[]", b"null", b'{"inputs": []}', b'{"inputs": [{"name": 1}]}'):
            check_refusal(served, body, 400)


def main() -> None:
    """Run the script."""
    script = open_script()
    served, text = script.numeric, script.text
    look_around(script, served)
    with script.check("JSON in, JSON out"):
        check_answer(served, infer(served, infer_body(served)))  # no content-type is JSON
        check_answer(served, infer(served, infer_body(served), content_type="application/json"))
    for name, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        with script.check(name):
            body = pack(infer_body(served))
            check_answer(served, infer(served, body, content_encoding=name, accept_encoding=name))
    with script.check("id echo"):
        assert infer(served, infer_body(served))["id"] == REQUEST_ID
    with script.check("outputs selection"):
        asked = infer_body(served, outputs=[{"name": "probability"}])
        found = [each["name"] for each in infer(served, asked)["outputs"]]
        assert found == ["probability"], f"asked for probability, got {found}"
    refuse(script, served)
    with script.check("text JSON"):
        check_answer(text, infer(text, infer_body(text)))
    script.report()


if __name__ == "__main__":
    main()
