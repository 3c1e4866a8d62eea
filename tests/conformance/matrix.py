"""`make conformance`: foreign clients against our real server, one same script of behaviours each.

Builds the clients' environments in the cache, prints a matrix of behaviours by client, writes
`build/conformance.json`, and exits with 1 when a behaviour is missed.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.environments import python_environment
from tests.bench.processes import ROOT
from tests.conformance.behaviours import CLIENTS, SCHEMATHESIS, Behaviour, Client
from tests.conformance.setting import conformance_setting

SCRIPTS = Path(__file__).resolve().parent / "clients"
RESULT = ROOT / "build" / "conformance.json"
_SECONDS = 300
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)

Results = Mapping[Behaviour, str | None]
"""For each behaviour that a client tried: None when it held, else what went wrong."""


def run_client(client: Client, setting: Path, scratch: Path) -> Results:
    """Run a client's script in its environment."""
    python = sys.executable
    if client.environment is not None:
        python = str(python_environment(client.environment, client.requirements) / "python")
    done = _run([python, str(SCRIPTS / f"{client.name}.py"), str(setting)], scratch)
    if done.returncode != 0:
        return {Behaviour.LIVE: f"the client ended: {done.stderr.strip()[-500:]}"}
    found = json.loads(done.stdout.splitlines()[-1])
    return {Behaviour(name): fault for name, fault in found.items()}


def run_schemathesis(http: int, scratch: Path, examples: int) -> Results:
    """Requests generated from our own description of the API."""
    program = shutil.which(
        "schemathesis", path=str(python_environment("schemathesis", SCHEMATHESIS))
    )
    base = f"http://127.0.0.1:{http}"
    command = [program or "schemathesis", "run", f"{base}/openapi.json", "--url", base]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)]
    command += ["--workers", "1", "--seed", "7", "--no-color", "--checks", ",".join(_CHECKS)]
    done = _run(command, scratch)
    if done.returncode == 0:
        return {Behaviour.SCHEMA: None}
    return {Behaviour.SCHEMA: (done.stdout + done.stderr).strip()[-6000:]}


def _run(command: Sequence[str], scratch: Path) -> "subprocess.CompletedProcess[str]":
    ours = {"PYTHONPATH", "VIRTUAL_ENV"}  # a foreign client must import nothing of ours
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        command,
        cwd=scratch,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )


def run_matrix(clients: Sequence[Client], *, schema_examples: int) -> dict[str, Results]:
    """All clients, one after the other; no examples leave schemathesis out."""
    found: dict[str, Results] = {}
    with contextlib.ExitStack() as running:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory()))
        setting, server = running.enter_context(conformance_setting(scratch))
        for client in clients:
            found[client.name] = run_client(client, setting, scratch)
        if schema_examples:
            http = server.ports["http"]
            found["schemathesis"] = run_schemathesis(http, scratch, schema_examples)
    return found


def misses(found: Mapping[str, Results]) -> list[tuple[str, Behaviour, str]]:
    """What did not hold: client, behaviour, fault."""
    return [
        (client, behaviour, fault)
        for client, results in found.items()
        for behaviour, fault in results.items()
        if fault is not None
    ]


def print_matrix(found: Mapping[str, Results]) -> None:
    """Behaviours by client: ok, MISS, or a dot where the client has no such call."""
    print(f"{'':<22}" + "".join(f"{name:>15}" for name in found))
    for behaviour in Behaviour:
        cells = [_cell(results, behaviour) for results in found.values()]
        if set(cells) != {"."}:
            print(f"{behaviour:<22}" + "".join(f"{cell:>15}" for cell in cells))
    for client, behaviour, fault in misses(found):
        print(f"\nMISS {client}, {behaviour}: {fault}")


def _cell(results: Results, behaviour: Behaviour) -> str:
    if behaviour not in results:
        return "."
    return "ok" if results[behaviour] is None else "MISS"


def main() -> int:
    """Run all clients; 0 when nothing was missed."""
    names = [client.name for client in CLIENTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", nargs="*", default=names, choices=names)
    parser.add_argument("--schema-examples", type=int, default=50, help="0: without schemathesis")
    options = parser.parse_args()
    chosen = [client for client in CLIENTS if client.name in options.clients]
    found = run_matrix(chosen, schema_examples=options.schema_examples)
    print_matrix(found)
    missed = misses(found)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"results": found, "misses": len(missed)}, indent=1))
    held = sum(len(results) for results in found.values()) - len(missed)
    print(f"\n{held} held, {len(missed)} missed; written to {RESULT.relative_to(ROOT)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
