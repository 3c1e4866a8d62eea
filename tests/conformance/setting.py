"""The two servers of the conformance matrix, and what their models must answer."""

import contextlib
import json
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from tests.bench.processes import Command, ServerProcess, started
from tests.serving.served_packages import cancer_package, mixed_package

VERSION = "v1"
ROWS = 4


def _complete_rows(columns: dict[str, list[Any]]) -> list[int]:
    """Rows without a gap: not every datatype of the protocol can say that a value is absent."""
    rows = range(len(next(iter(columns.values()))))
    return [row for row in rows if all(values[row] is not None for values in columns.values())]


def describe(package: Path, ports: dict[str, int | None]) -> dict[str, Any]:
    """A served package for the clients: its inputs, some rows of its samples and their answers."""
    schema = json.loads((package / "schema.json").read_text())
    samples = json.loads((package / "samples.json").read_text())
    model = json.loads((package / "manifest.json").read_text())["model"]
    rows = _complete_rows(samples["inputs"])[:ROWS]

    def tensors(fields: Sequence[dict[str, Any]], values: dict[str, Any]) -> dict[str, Any]:
        return {
            field["name"]: {
                "datatype": field["datatype"],
                "data": [values[field["name"]][row] for row in rows],
            }
            for field in fields
        }

    numeric = all(field["kind"] == "numeric" for field in schema["inputs"])
    inputs = tensors(schema["inputs"], samples["inputs"])
    matrix = [[tensor["data"][row] for tensor in inputs.values()] for row in range(len(rows))]
    return {
        **ports,
        "model": model,
        "version": VERSION,
        "inputs": inputs,
        "outputs": tensors(schema["outputs"], samples["outputs"]),
        "matrix": matrix if numeric else None,
    }


@contextlib.contextmanager
def served(package: Path) -> Generator[ServerProcess]:
    """A server over a package, on loopback."""
    variables = {"MOORING_DRAIN_SECONDS": "0", "MOORING_VERSION": VERSION}
    arguments = (sys.executable, "-m", "tests.serving.server_process", str(package))
    with started(Command(arguments, variables, announces=True), core=None) as server:
        yield server


@contextlib.contextmanager
def conformance_setting(scratch: Path) -> Generator[tuple[Path, ServerProcess]]:
    """Both servers, the file that tells clients about them, and the numeric model's server."""
    packages = {"numeric": cancer_package(), "text": mixed_package()}
    with contextlib.ExitStack() as running:
        document: dict[str, Any] = {"scratch": str(scratch)}
        servers: dict[str, ServerProcess] = {}
        for name, package in packages.items():
            server = servers[name] = running.enter_context(served(package))
            ports = {"http": server.ports["http"], "grpc": server.ports.get("grpc")}
            document[name] = describe(package, ports)
        file = scratch / "setting.json"
        file.write_text(json.dumps(document))
        yield file, servers["numeric"]
