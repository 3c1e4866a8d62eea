"""The first load of a package, in a process of its own: what verification does with foreign bytes.

A model file can make its library crash, allocate without end, or never come back. Here that ends
one process, within a memory limit and a deadline, and becomes a refusal. Run as a module, this
file is that process; its answer is one JSON object on the descriptor that it is given.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import Format, read_manifest
from mooring_model.verify import replay

SECONDS = 240.0
"""Default deadline: below the five minutes that a verification Job has by default."""
SHARE = 0.5
"""Of the container's memory (or the machine's) that the model may allocate; the rest is for the
libraries and the process that waits."""
END_SECONDS = 5.0
MAX_ANSWER_BYTES = 1 << 20
_KEPT = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")
"""Of the environment; credentials and keys stay behind."""
_SINGLE = {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads reserve memory that they never touch."""
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class TrialLimits:
    """What the process may take.

    Attributes:
        seconds: until it must have answered.
        memory_bytes: that it may allocate once its libraries are loaded.
    """

    seconds: float
    memory_bytes: int


def default_limits(cgroup: Path = _CGROUP) -> TrialLimits:
    """The default deadline, and a share of the memory that there is."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # no cgroup, or no limit: it says "max"
        total = min(total, int(cgroup.read_text()))
    return TrialLimits(SECONDS, int(total * SHARE))


def run_trial(
    directory: Path, limits: TrialLimits, *, allow_code: bool = False
) -> Mapping[str, object]:
    """Loads and replays a checked package; the report of contract §3.

    Raises:
        PackageRefused: as `replay` does; LoadFailed when the process crashes, takes too long or
            too much.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as answers:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [
                    *(sys.executable, "-m", "mooring_model.trial", str(writing)),
                    *(str(directory), str(limits.memory_bytes), str(int(allow_code))),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _KEPT if name in os.environ} | _SINGLE,
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        code = _await(process, limits.seconds)
        data = answers.read(MAX_ANSWER_BYTES) if code == 0 else b""
    if code != 0 or not data:
        raise _failed(directory, _cause(code, limits))
    answer: dict[str, Any] = json.loads(data)
    if "report" in answer:
        return cast("Mapping[str, object]", answer["report"])
    raise PackageRefused(RefusalReason(answer["reason"]), answer["message"], answer["remedy"])


def _await(process: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    """The exit code; None when the deadline had to end it. All that it started ends with it."""
    code: int | None = None
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = process.wait(seconds)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(END_SECONDS)
    return code


def _cause(code: int | None, limits: TrialLimits) -> str:
    if code is None:
        return f"does not load and answer its samples within {limits.seconds:g} s"
    if code == _OUT_OF_MEMORY:
        return f"needs more than {limits.memory_bytes} bytes of memory"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"ends the process that loads it by {signal.Signals(-code).name}"
    return f"ends the process that loads it with {code}"


def _failed(directory: Path, what: str) -> PackageRefused:
    return PackageRefused(
        RefusalReason.LOAD_FAILED,
        f"{directory}: the model {what}",
        "make the model smaller or faster, or give verification more memory and time",
    )


def limit_memory(directory: Path, memory_bytes: int) -> None:
    """From here on this process may allocate so much more, beyond the format's library.

    Raises:
        PackageRefused: the manifest cannot be read.
    """
    format_ = read_manifest(directory).format
    if format_ in (Format.ONNX, Format.SKOPS):
        importlib.import_module(f"mooring_model.runtimes.{format_}")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmData:"))
    limit = int(line.split()[1]) * 1024 + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


_OUT_OF_MEMORY = 75


def main(arguments: Sequence[str]) -> int:
    """The process: limits, load, replay, answer."""
    descriptor, directory = int(arguments[1]), Path(arguments[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        limit_memory(directory, int(arguments[3]))
        report = replay(directory, allow_code=arguments[4] == "1")
        answer: dict[str, object] = {"report": report.to_json()}
    except PackageRefused as refused:
        answer = {
            "reason": refused.reason.value, "message": refused.message, "remedy": refused.remedy
        }  # fmt: skip
    except MemoryError:
        return _OUT_OF_MEMORY
    with os.fdopen(descriptor, "wb") as sink:
        sink.write(json.dumps(answer).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
