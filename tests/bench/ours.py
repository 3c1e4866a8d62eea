"""Our server alone in a benchmark: how it is started, loaded and written about."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.bench.closed_loop import LoadResult, run_load
from tests.bench.exchanges import Load
from tests.bench.models import BenchModel, matrix
from tests.bench.payloads import Protocol, build_load
from tests.bench.processes import ROOT, Command, ServerProcess

RESULTS = ROOT / "build" / "bench"
CONNECTIONS = 16


def our_command(model: BenchModel, module: str = "tests.serving.server_process") -> Command:
    """Our server with its usual settings, on one thread of onnxruntime."""
    variables = {"MOORING_DRAIN_SECONDS": "0", "OMP_NUM_THREADS": "1"}
    return Command((sys.executable, "-m", module, str(model.package)), variables, announces=True)


def json_load(server: ServerProcess, rows: int) -> Load:
    """A JSON request of so many rows."""
    return build_load(Protocol.JSON, server.ports, matrix(rows))


def measure_capacity(load: Load, seconds: float) -> LoadResult:
    """What the server sustains in a closed loop."""
    run_load(load, connections=CONNECTIONS, seconds=min(1.0, seconds))
    return run_load(load, connections=CONNECTIONS, seconds=seconds)


def write_result(name: str, document: Mapping[str, object]) -> Path:
    """Write `build/bench/NAME.json`; returns its path from the checkout."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    stamped = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **document}
    path.write_text(json.dumps(stamped, indent=1))
    return path.relative_to(ROOT)
