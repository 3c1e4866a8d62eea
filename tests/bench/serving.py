"""`make bench-serving`: our server, rivals and floors side by side, on one pinned core.

One core for the server under measurement, another for the load generator, the same model and the
same rows for all, rounds alternated. Every server is started once and stopped (SIGSTOP) while
another is measured. CPU time per request is given beside the rate, since it hardly depends on who
else uses the machine.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.bench.closed_loop import LoadResult, build_request, run_load
from tests.bench.comparison import Key, Measurement, Ruled, print_tables, write_document
from tests.bench.contenders import CONTENDERS, Contender
from tests.bench.environments import EnvironmentUnavailable
from tests.bench.exchanges import GOOD, HttpLoad, Load
from tests.bench.models import BenchModel, build_model, matrix
from tests.bench.open_loop import Arrivals, run_arrivals
from tests.bench.payloads import Protocol, build_load, numbers_of
from tests.bench.processes import LOAD_CORE, SERVER_CORE, ServerFailed, ServerProcess, started

CONNECTIONS = 16
WARM_SECONDS = 0.3
CASES = ("linear-1", "linear-64", "forest-1", "forest-64")
_TOLERANCE = 1e-4
"""ONNX runs in single precision."""
_REFUSED = ("status 415", "status 422", "status 501")
"""No waiting helps: the protocol is not spoken (MLServer says 400 and 404 while it loads)."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    rounds: int
    seconds: float
    open_seconds: float
    servers: Sequence[str]
    cases: Sequence[str]
    protocols: Sequence[Protocol]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A running server with its loads by case and protocol."""

    contender: Contender
    server: ServerProcess
    loads: dict[tuple[int, Protocol], Load]


def check_answer(load: Load, expected: float, *, label: str) -> str | None:
    """Send the request once: None when it is answered well, else what was wrong with it."""
    exchange = load.connect()
    try:
        exchange.send()
        status = None
        while status is None:
            status = exchange.receive()
    except OSError as error:
        return f"{label}: {error}"
    finally:
        exchange.close()
    if status != GOOD:
        return f"{label}: status {status}"
    if isinstance(load, HttpLoad) and b"octet-stream" not in load.request[:300]:
        return _check_numbers(load, expected, label)
    return None


def _check_numbers(load: HttpLoad, expected: float, label: str) -> str | None:
    head, _, body = load.request.partition(b"\r\n\r\n")
    path = head.split(b" ", 2)[1].decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{load.port}{path}", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
        found = numbers_of(response.read())
    if not any(abs(value - expected) < _TOLERANCE for value in found):
        return f"{label}: no number of the answer is the probability {expected:.6f}"
    return None


class Bench:
    """One run: the servers of one model at a time, all cases and rounds."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._absent: dict[str, str] = {}
        self._runs: dict[Key, list[Measurement]] = {}
        self._generator: LoadResult | None = None

    def run(self, root: Path) -> Ruled:
        """Measure everything; returns what was found."""
        contenders = list(self._prepared())
        kinds = dict.fromkeys(case.partition("-")[0] for case in self._options.cases)
        for kind in kinds:
            model = build_model(kind, root)
            rows = [int(c.partition("-")[2]) for c in self._options.cases if c.startswith(kind)]
            with contextlib.ExitStack() as running:
                found = [self._start(each, model, rows, running) for each in contenders]
                candidates = [each for each in found if each is not None]
                self._measure_generator(candidates)
                for number in range(self._options.rounds):
                    print(f"[mooring] {kind}: round {number + 1}", flush=True)
                    self._round(kind, candidates, rows)
                self._half_load(kind, candidates)
        return Ruled(self._runs, self._absent, self._generator)

    def _prepared(self) -> Iterator[Contender]:
        for name in self._options.servers:
            contender = CONTENDERS[name]
            try:
                contender.prepare()
            except EnvironmentUnavailable as error:
                self._absent[name] = str(error)
                continue
            yield contender

    def _start(
        self,
        contender: Contender,
        model: BenchModel,
        rows: Sequence[int],
        running: contextlib.ExitStack,
    ) -> Candidate | None:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory()))
        try:
            command = contender.command(model, scratch)
            server = running.enter_context(started(command, core=SERVER_CORE))
        except ServerFailed as error:
            self._absent[contender.name] = str(error)
            return None
        loads: dict[tuple[int, Protocol], Load] = {}
        for protocol in contender.protocols:
            if protocol not in self._options.protocols:
                continue
            for count in rows:
                label = f"{contender.name} {protocol} {count}"
                try:
                    load = build_load(
                        protocol,
                        server.ports,
                        matrix(count),
                        path=contender.path,
                        encode=contender.encode,
                    )
                except KeyError:
                    self._absent[label] = f"{label}: the server has no port for it"
                    continue
                fault = _first_answer(load, model.expected[0], label)
                if fault is None:
                    loads[count, protocol] = load
                else:
                    self._absent[label] = fault
        server.pause()
        return Candidate(contender, server, loads)

    def _measure_generator(self, candidates: Sequence[Candidate]) -> None:
        """What the load generator can drive: the compiled floor answers this path at once."""
        for candidate in candidates:
            if candidate.contender.name != "compiled" or self._generator is not None:
                continue
            port = candidate.server.ports["http"]
            load = HttpLoad(port, build_request("/trivial", b"{}", port=port))
            candidate.server.resume()
            self._generator = run_load(load, connections=CONNECTIONS, seconds=1)
            candidate.server.pause()

    def _round(self, kind: str, candidates: Sequence[Candidate], rows: Sequence[int]) -> None:
        for count in rows:
            for protocol in Protocol:
                for candidate in candidates:
                    load = candidate.loads.get((count, protocol))
                    if load is not None:
                        key = Key(candidate.contender.name, kind, count, protocol)
                        self._runs.setdefault(key, []).append(self._closed(candidate.server, load))

    def _closed(self, server: ServerProcess, load: Load) -> Measurement:
        server.resume()
        try:
            run_load(load, connections=CONNECTIONS, seconds=WARM_SECONDS)
            before = server.cpu_seconds()
            result = run_load(load, connections=CONNECTIONS, seconds=self._options.seconds)
            used = server.cpu_seconds() - before
            return Measurement.of(result, used, server.resident_bytes())
        finally:
            server.pause()

    def _half_load(self, kind: str, candidates: Sequence[Candidate]) -> None:
        """Latency at half of what each server was found to sustain, in an open loop."""
        for candidate in candidates:
            for (count, protocol), load in candidate.loads.items():
                key = Key(candidate.contender.name, kind, count, protocol)
                rates = sorted(run.rate for run in self._runs[key])
                half = rates[len(rates) // 2] / 2
                if half <= 0 or self._options.open_seconds <= 0:
                    continue
                candidate.server.resume()
                try:
                    arrivals = Arrivals(half, self._options.open_seconds)
                    result = run_arrivals(load, arrivals, np.random.default_rng(7))
                finally:
                    candidate.server.pause()
                for run in self._runs[key][-1:]:
                    run.half = result


def _first_answer(load: Load, expected: float, label: str) -> str | None:
    """The first answer may take a while: some rivals listen before they can answer."""
    fault = None
    for _ in range(60):
        try:
            fault = check_answer(load, expected, label=label)
        except (urllib.error.URLError, OSError) as error:
            fault = f"{label}: {error}"
        if fault is None or fault.endswith(_REFUSED):
            return fault
        time.sleep(0.5)
    return fault


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one measurement")
    parser.add_argument("--open-seconds", type=float, default=2, help="at half load; 0: leave out")
    parser.add_argument("--servers", nargs="*", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument(
        "--protocols", nargs="*", default=list(Protocol), choices=list(Protocol), type=Protocol
    )
    found = parser.parse_args(arguments)
    return Options(
        found.rounds,
        found.seconds,
        found.open_seconds,
        found.servers,
        found.cases,
        found.protocols,
    )


def main() -> None:
    """Measure, print the tables, write `build/bench/serving.json`."""
    options = parse_options()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench-serving needs two cores: one for the server, one for the load generator")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options)
        os.sched_setaffinity(0, {LOAD_CORE})
        ruled = bench.run(Path(scratch))
    print_tables(ruled)
    path = write_document(ruled, rounds=options.rounds, seconds=options.seconds)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
