"""Who runs in `bench-serving`: our server, the floors below it, and the rivals.

One worker each, settings as each project documents them for production. A rival appears with the
same ONNX file as everybody, with its own default pairing (a pickled scikit-learn pipeline), and
with its batching on where it has one inside the server; the comparison takes its best.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.bench import payloads
from tests.bench.environments import (
    HERE,
    compiled_floor,
    onnxruntime_library,
    python_environment,
    same_version,
)
from tests.bench.models import BenchModel
from tests.bench.payloads import Matrix, Protocol
from tests.bench.processes import Command

RIVALS = HERE / "rivals"
BATCH = 32
"""Requests in a batch where a rival batches: twice the connections, so time limits decide."""

REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    # Its parallel workers do not start on a newer uvloop than it was released with.
    "mlserver": ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop==0.21.0"),
    "kserve": ("kserve==0.21.0",),
    "litserve": ("litserve==0.2.19",),
    "bentoml": ("bentoml==1.4.39",),
}
_KERNELS = ("onnxruntime", "scikit-learn", "joblib", "numpy")
_SKLEARN = " sklearn"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Role(StrEnum):
    """What a contender is in the comparison."""

    OURS = "ours"
    """Our server with all its duties."""
    FLOOR = "floor"
    """A loop without any duty: what the machine allows."""
    RIVAL = "rival"
    """A Python model server that people use."""


class Pairing(StrEnum):
    """What a contender predicts with."""

    SAME_FILE = "same ONNX file"
    """The ONNX file that all others have."""
    OWN_DEFAULT = "its own default"
    """The pickled scikit-learn pipeline."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One server in one setting.

    Attributes:
        name: Its name in the table.
        role: What it is compared as.
        command: How to start it, for a model and a scratch directory.
        protocols: What it speaks.
        path: REST path of a prediction.
        encode: Its JSON body.
        note: The setting, in words.
    """

    name: str
    role: Role
    command: Callable[[BenchModel, Path], Command]
    protocols: tuple[Protocol, ...] = (Protocol.JSON,)
    path: str = payloads.INFER_PATH
    encode: Callable[[Matrix], bytes] = payloads.protocol_json
    note: str = ""
    environment: str | None = None

    @property
    def pairing(self) -> Pairing:
        """What it predicts with."""
        sklearn = self.name.endswith(_SKLEARN)
        return Pairing.OWN_DEFAULT if sklearn else Pairing.SAME_FILE

    def prepare(self) -> None:
        """Install what it needs.

        Raises:
            EnvironmentUnavailable: It cannot be had here.
        """
        if self.environment is not None:
            _binaries(self.environment)
        elif self.name == "compiled":
            compiled_floor()


def _binaries(rival: str) -> Path:
    return python_environment(rival, [*REQUIREMENTS[rival], *same_version(*_KERNELS)])


def _mooring(**variables: str) -> Callable[[BenchModel, Path], Command]:
    def command(model: BenchModel, scratch: Path) -> Command:
        log = {k: v.format(scratch=scratch) for k, v in variables.items()}
        return Command(
            (sys.executable, "-m", "tests.serving.server_process", str(model.package)),
            {**_ONE_THREAD, "MOORING_DRAIN_SECONDS": "0", **log},
            announces=True,
        )

    return command


def _bare(loop: str) -> Callable[[BenchModel, Path], Command]:
    def command(model: BenchModel, scratch: Path) -> Command:
        return Command(
            (sys.executable, "-m", "tests.bench.bare_loops", loop, str(model.directory)),
            _ONE_THREAD,
            announces=True,
        )

    return command


def _compiled(model: BenchModel, scratch: Path) -> Command:
    program = str(compiled_floor())
    library = str(onnxruntime_library())
    return Command((program, str(model.directory / "model.onnx"), library), {}, announces=True)


def _settings(model: BenchModel, pairing: str, batch: int) -> dict[str, str]:
    """Variables of a rival's process; our own import path must not reach it."""
    return {
        **_ONE_THREAD,
        "PYTHONPATH": str(RIVALS),
        "PAIRING": pairing,
        "MODEL_DIRECTORY": str(model.directory),
        "BATCH": str(batch) if batch else "",
    }


def _mlserver(pairing: str, batch: int, workers: int) -> Callable[[BenchModel, Path], Command]:
    def command(model: BenchModel, scratch: Path) -> Command:
        served = {
            "onnx": ("mlserver_onnx.OnnxModel", "model.onnx"),
            "sklearn": ("mlserver_sklearn.SKLearnModel", "model.joblib"),
        }
        implementation, file = served[pairing]
        document: dict[str, object] = {
            "name": "cancer",
            "implementation": implementation,
            "parameters": {"uri": str(model.directory / file), "version": "v1"},
        }
        if batch:
            document |= {"max_batch_size": batch, "max_batch_time": 0.002}
        (scratch / "model-settings.json").write_text(json.dumps(document))
        variables = _settings(model, pairing, batch) | {
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": "{http}",
            "MLSERVER_GRPC_PORT": "{grpc}",
            "MLSERVER_METRICS_PORT": "{metrics}",
            "MLSERVER_PARALLEL_WORKERS": str(workers),
            "MLSERVER_DEBUG": "false",
        }
        program = str(_binaries("mlserver") / "mlserver")
        return Command((program, "start", str(scratch)), variables, False, scratch)

    return command


def _kserve(pairing: str) -> Callable[[BenchModel, Path], Command]:
    def command(model: BenchModel, scratch: Path) -> Command:
        python = str(_binaries("kserve") / "python")
        script = str(RIVALS / "kserve_server.py")
        ports = ("--http_port", "{http}", "--grpc_port", "{grpc}")
        # A log line a request would be charged to it alone: none of the others writes one.
        quiet = ("--enable_latency_logging", "false", "--configure_logging", "false")
        return Command(
            (python, script, *ports, *quiet), _settings(model, pairing, 0), False, scratch
        )

    return command


def _litserve(pairing: str, batch: int) -> Callable[[BenchModel, Path], Command]:
    def command(model: BenchModel, scratch: Path) -> Command:
        python = str(_binaries("litserve") / "python")
        script = str(RIVALS / "litserve_server.py")
        return Command((python, script, "{http}"), _settings(model, pairing, batch), False, scratch)

    return command


def _bentoml(pairing: str, batch: int) -> Callable[[BenchModel, Path], Command]:
    def command(model: BenchModel, scratch: Path) -> Command:
        binaries = _binaries("bentoml")
        variables = _settings(model, pairing, batch) | {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "BENTOML_HOME": str(scratch / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "true",
        }
        serve = ("serve", "bentoml_service:Service", "--working-dir", str(RIVALS))
        ports = ("--host", "127.0.0.1", "--port", "{http}")
        return Command((str(binaries / "bentoml"), *serve, *ports), variables, False, scratch)

    return command


_ALL_THREE = (Protocol.JSON, Protocol.BINARY, Protocol.GRPC)


def _rivals() -> list[Contender]:
    def rival(name: str, command: Callable[[BenchModel, Path], Command], **more: object) -> None:
        environment = name.partition(" ")[0]
        found.append(
            Contender(name, Role.RIVAL, command, environment=environment, **more)  # pyright: ignore[reportArgumentType]  # fields of Contender by name
        )

    found: list[Contender] = []
    one = "one parallel worker, its default"
    none = "parallel_workers 0: all in one process"
    batches = f"batches of {BATCH}, 2 ms"
    encode = payloads.sklearn_json
    both = (Protocol.JSON, Protocol.GRPC)
    rival("mlserver", _mlserver("onnx", 0, 1), protocols=both, note=one)
    rival("mlserver inline", _mlserver("onnx", 0, 0), protocols=both, note=none)
    rival("mlserver batching", _mlserver("onnx", BATCH, 0), note=f"{none}; {batches}")
    rival("mlserver sklearn", _mlserver("sklearn", 0, 0), encode=encode, note=none)
    rival("kserve", _kserve("onnx"), protocols=_ALL_THREE, note="custom model; no batching inside")
    rival("kserve sklearn", _kserve("sklearn"), note="custom model, joblib")
    path = "/predict"
    rival("litserve", _litserve("onnx", 0), path=path, note="fast_queue")
    rival("litserve batching", _litserve("onnx", BATCH), path=path, note=batches)
    rival("litserve sklearn", _litserve("sklearn", 0), path=path, note="fast_queue, joblib")
    bento = payloads.bentoml_json
    rival("bentoml", _bentoml("onnx", 0), path=path, encode=bento, note="numpy argument")
    rival(
        "bentoml batching",
        _bentoml("onnx", BATCH),
        path=path,
        encode=bento,
        note="adaptive batching",
    )
    rival("bentoml sklearn", _bentoml("sklearn", 0), path=path, encode=bento, note="joblib")
    return found


CONTENDERS: Mapping[str, Contender] = {
    each.name: each
    for each in (
        Contender("mooring", Role.OURS, _mooring(), _ALL_THREE, note="all duties, no log"),
        Contender(
            "mooring log",
            Role.OURS,
            _mooring(MOORING_PREDICTION_LOG_URI="file://{scratch}/log"),
            note="with the Parquet log of every prediction",
        ),
        Contender("bare granian", Role.FLOOR, _bare("granian"), note="granian, orjson"),
        Contender("bare protocol", Role.FLOOR, _bare("protocol"), note="httptools, orjson, uvloop"),
        Contender("compiled", Role.FLOOR, _compiled, note="Rust: hyper, serde, onnxruntime"),
        *_rivals(),
    )
}
