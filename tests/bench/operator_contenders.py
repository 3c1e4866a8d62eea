"""The two controllers under measurement, as processes on a core of their own."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.bench.operator_plane import Plane
from tests.bench.operator_population import IMAGE, yardstick_templates
from tests.bench.processes import ROOT, cpu_seconds_of, free_ports
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.toolchain import Module, ensure_programs

OURS, YARDSTICK = "mooring", "yardstick"
WORKERS = 16
_MODULE = Module("operator_yardstick", {"yardstick": "."}, place=Path(__file__).parent, gentle=True)
_NAMES = {
    OURS: ("controller_reconcile_total", ("workqueue_depth", "mooring_events_waiting")),
    YARDSTICK: ("controller_runtime_reconcile_total", ("workqueue_depth",)),
}
_END_SECONDS = 40.0


class ContenderFailed(Exception):
    """A contender ended by itself; the message holds the end of its log."""


@dataclass(frozen=True)
class Limits:
    """What both contenders may ask of the API server."""

    qps: float
    burst: int


@dataclass(frozen=True)
class Gauges:
    """What a contender says of itself.

    Attributes:
        looks: reconciliations since it started.
        waiting: keys that wait for a worker, and Events that wait to be posted.
        lag: how late its event loop was at last look, seconds; None: it has none.
    """

    looks: float
    waiting: float
    lag: float | None


@dataclass
class Contender:
    """A controller that is started, killed and started again."""

    name: str
    plane: Plane
    limits: Limits
    core: int | None
    settings: dict[str, str] = field(default_factory=dict[str, str])
    process: "subprocess.Popen[bytes] | None" = None
    ports: list[int] = field(default_factory=lambda: free_ports(2))

    @property
    def log(self) -> Path:
        """Its output."""
        return self.plane.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self.process is None or self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
            raise ContenderFailed(f"{self.name} does not run; its log ends with\n{tail}")
        return self.process.pid

    def start(self) -> None:
        """Starts it anew."""
        core = self.core
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._argv(),
                cwd=ROOT,
                env={**os.environ, **self._environment()},
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            )

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_END_SECONDS)

    def stop(self) -> None:
        """SIGTERM."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def cpu_seconds(self) -> float:
        """User and system time of the running process."""
        return cpu_seconds_of(self.pid)

    def memory(self) -> tuple[int, int]:
        """Resident memory now and at most, bytes."""
        found: dict[str, int] = {}
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                found[name] = int(rest.split()[0]) * 1024
        return found.get("VmRSS", 0), found.get("VmHWM", 0)

    async def gauges(self) -> Gauges | None:
        """What its metrics say; None while it does not answer."""
        looks, waiting = _NAMES[self.name]
        timeout = aiohttp.ClientTimeout(total=20)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.get(f"http://127.0.0.1:{self.ports[0]}/metrics") as answer,
            ):
                lines = (await answer.text()).splitlines()
        except (aiohttp.ClientError, TimeoutError):
            return None
        lag = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("event_loop_lag")]
        depth = sum(_sum(lines, name) for name in waiting)
        return Gauges(_sum(lines, looks), depth, lag[0] if lag else None)

    async def until_idle(self, seconds: float) -> None:
        """Returns when nothing waits for a worker, seen twice."""
        calm = 0
        deadline = time.monotonic() + seconds
        while calm < 2:
            if time.monotonic() > deadline:
                raise ContenderFailed(f"{self.name} is not idle after {seconds:.0f} s")
            self.pid  # noqa: B018 - raises when it does not run
            gauges = await self.gauges()
            calm = calm + 1 if gauges is not None and gauges.waiting == 0 else 0
            await asyncio.sleep(0.5)

    def _argv(self) -> list[str]:
        if self.name == OURS:
            return [sys.executable, "-m", "mooring_operator"]
        templates = self.plane.folder / "templates.json"
        templates.write_text(json.dumps(yardstick_templates()))
        return [
            str(yardstick_program()),
            f"-kubeconfig={self.plane.kubeconfig(YARDSTICK)}",
            f"-templates={templates}",
            f"-qps={self.limits.qps}",
            f"-burst={self.limits.burst}",
            f"-workers={WORKERS}",
            f"-metrics=127.0.0.1:{self.ports[0]}",
        ]

    def _environment(self) -> dict[str, str]:
        if self.name != OURS:
            return {}
        return {
            "KUBECONFIG": str(self.plane.kubeconfig(OURS)),
            "MOORING_SERVING_IMAGE": IMAGE,
            "MOORING_NAMESPACE": "default",
            # One process; with election, the first and last seconds would be the Lease's.
            "MOORING_LEADER_ELECTION": "false",
            "MOORING_LISTEN": "127.0.0.1",
            "MOORING_METRICS_PORT": str(self.ports[0]),
            "MOORING_PROBE_PORT": str(self.ports[1]),
            "MOORING_API_RATE": str(self.limits.qps),
            "MOORING_API_BURST": str(self.limits.burst),
            "MOORING_WORKERS": str(WORKERS),
            **self.settings,
        }


def yardstick_program() -> Path:
    """The compiled yardstick, built once per content."""
    return ensure_programs((_MODULE,), default_layout(), Progress(sys.stderr))["yardstick"]


@contextlib.contextmanager
def ended(contender: Contender) -> Generator[Contender]:
    """Sees to it that the contender is gone afterwards."""
    try:
        yield contender
    finally:
        contender.kill()


def _sum(lines: list[str], name: str) -> float:
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + "{", name + " "))
    )
