"""The model's process: started by `process` as a script of its own, never imported by the server.

It gives up what it does not need (`fence`), imports the entry point, and answers one frame after
the other until the server hangs up. Whatever the package's code raises becomes an answer; what it
does to this process costs the server one call.
"""

import contextlib
import importlib
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

# What is imported from here on comes with the server's installation, not with the package.
ROOT = Path(__file__).resolve().parents[2]
MAX_TEXT = 500


def main(arguments: Sequence[str]) -> int:
    """Serves one connection; the argument is its descriptor."""
    connection = socket.socket(fileno=int(arguments[1]))
    connection.settimeout(None)
    # -I leaves out the directories of PYTHONPATH, where this module may come from.
    sys.path.insert(_first_installed(), str(ROOT))
    wire: Any = importlib.import_module("mooring_model.python.wire")
    task, _ = wire.receive(connection, body_limit=0)
    try:
        model, filtered = _open(task)
    except BaseException as error:  # noqa: BLE001 - the package's code may raise anything
        wire.send(connection, {"error": _said(error)})
        return 1
    wire.send(connection, {"ready": filtered})
    with contextlib.suppress(wire.Closed):
        while True:
            _answer(connection, wire, model, task["callSeconds"])
    return 0


def _open(task: dict[str, Any]) -> tuple[Any, bool]:
    """The model, constructed inside the fence; and whether calls are filtered."""
    fence: Any = importlib.import_module("mooring_model.python.fence")
    if task["libraries"] is not None:
        sys.path.insert(_first_installed(), task["libraries"])
    fence.limit_resources(memory_bytes=task["memoryBytes"], open_files=task["openFiles"])
    fence.limit_time(task["startSeconds"])
    filtered: bool = fence.filter_calls()
    if not filtered:
        fence.forbid_processes()
    sys.path.insert(_first_installed(), f"{task['directory']}/code")
    module_name, _, class_name = task["entrypoint"].partition(":")
    module = importlib.import_module(module_name)
    model = getattr(module, class_name)(Path(task["directory"]))
    fence.rest()
    return model, filtered


def _first_installed() -> int:
    """The place of the installed libraries in the path: behind the standard library."""
    for place, folder in enumerate(sys.path):
        if folder.endswith(("site-packages", "dist-packages")):
            return place
    return len(sys.path)


def _answer(connection: socket.socket, wire: Any, model: Any, seconds: int) -> None:
    fence: Any = importlib.import_module("mooring_model.python.fence")
    head, body = wire.receive(connection, body_limit=wire.MAX_BODY_BYTES)
    parts: list[bytes] = []
    fence.limit_time(seconds)
    try:
        columns = wire.decode_columns(head["columns"], head["rows"], body)
        entries, parts = wire.encode_answers(_numbers(model.predict(columns)))
        answer: dict[str, Any] = {"answers": entries}
    except Exception as error:  # noqa: BLE001 - the package's code may raise anything
        answer = {"error": _said(error)}
    fence.rest()
    wire.send(connection, answer, parts)


def _numbers(answers: Any) -> dict[str, Any]:
    """The model's answers as float64 arrays."""
    numpy: Any = importlib.import_module("numpy")
    if not isinstance(answers, dict):
        kind = type(cast("object", answers)).__name__
        raise TypeError(f"predict() gave a {kind}, not a dict of arrays")
    given = cast("dict[Any, Any]", answers)
    return {
        str(name): numpy.ascontiguousarray(values, numpy.float64) for name, values in given.items()
    }


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:MAX_TEXT]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv))
