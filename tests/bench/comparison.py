"""What runs of `bench-serving` say: medians with their spread, and ratios between contenders."""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.closed_loop import LoadResult
from tests.bench.contenders import CONTENDERS, Contender, Pairing, Role
from tests.bench.payloads import Protocol
from tests.bench.processes import ROOT

RESULTS = ROOT / "build" / "bench"
GENERATOR_BOUND = 0.9
"""Share of its core from which the load generator, not the server, may set the rate."""


@dataclass(frozen=True, slots=True)
class Key:
    """One contender in one case."""

    server: str
    model: str
    rows: int
    protocol: Protocol

    @property
    def case(self) -> tuple[str, int, Protocol]:
        """The case without the contender."""
        return self.model, self.rows, self.protocol


@dataclass(slots=True)
class Measurement:
    """One run of one contender.

    Attributes:
        rate: Good answers per second, closed loop.
        p50_ms, p99_ms: Latency of them.
        cpu_us: CPU time of the server's processes for each request, µs.
        resident_mb: Memory of the server's processes after the run, MB.
        failures: Answers that were not good.
        generator_share: Share of its core that the load generator used.
        generator_us: CPU time of the load generator for each request, µs.
        half: The open-loop run at half of saturation, made once after the rounds.
    """

    rate: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_us: float
    resident_mb: float
    failures: int
    generator_share: float
    generator_us: float
    half: LoadResult | None = None

    @classmethod
    def of(cls, result: LoadResult, cpu_seconds: float, resident: int) -> "Measurement":
        """From a closed-loop run."""
        return cls(
            rate=result.rate,
            p50_ms=result.p50_ms,
            p99_ms=result.p99_ms,
            cpu_us=cpu_seconds / max(1, result.requests) * 1e6,
            resident_mb=resident / 1e6,
            failures=result.failures,
            generator_share=result.generator_share,
            generator_us=result.generator_us,
        )


@dataclass(frozen=True, slots=True)
class Ruled:
    """All runs, and what could not run with its reason."""

    runs: Mapping[Key, Sequence[Measurement]]
    absent: Mapping[str, str]
    generator: LoadResult | None
    """What the load generator drove at the compiled floor's `/trivial`."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast one contender is as another, round by round."""

    case: tuple[str, int, Protocol]
    against: str
    median: float
    low: float
    high: float
    n: int
    cpu: float


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def compare(ruled: Ruled, ours: str, other: str, case: tuple[str, int, Protocol]) -> Ratio | None:
    """Rates of `ours` by those of `other` in each round, and the ratio of CPU times the other way.

    Returns:
        None when one of them did not run in this case.
    """
    left = ruled.runs.get(Key(ours, *case))
    right = ruled.runs.get(Key(other, *case))
    if not left or not right or min(run.rate for run in right) <= 0:
        return None
    ratios = [a.rate / b.rate for a, b in zip(left, right, strict=True)]
    cpu = _median([run.cpu_us for run in right]) / _median([run.cpu_us for run in left])
    return Ratio(case, other, _median(ratios), min(ratios), max(ratios), len(ratios), cpu)


def ratios(ruled: Ruled, ours: str = "mooring") -> list[Ratio]:
    """Against the fastest rival of each case and pairing, and against each floor."""
    found: list[Ratio] = []
    for case in dict.fromkeys(key.case for key in ruled.runs):
        keys = [key for key in ruled.runs if key.case == case]
        against = [key for key in keys if _contender(key).role is Role.FLOOR]
        for pairing in Pairing:
            rivals = [key for key in keys if _is_rival(key, pairing)]
            if rivals:
                against.insert(0, max(rivals, key=lambda key: _rate(ruled.runs[key])))
        for key in against:
            ratio = compare(ruled, ours, key.server, case)
            if ratio is not None:
                found.append(ratio)
    return found


def _contender(key: Key) -> Contender:
    return CONTENDERS[key.server]


def _is_rival(key: Key, pairing: Pairing) -> bool:
    contender = _contender(key)
    return contender.role is Role.RIVAL and contender.pairing is pairing


def _rate(runs: Sequence[Measurement]) -> float:
    return _median([run.rate for run in runs])


_COLUMNS: Sequence[tuple[str, Callable[[Sequence[Measurement]], str]]] = (
    ("req/s", lambda runs: f"{_median([run.rate for run in runs]):.0f}"),
    ("best", lambda runs: f"{max(run.rate for run in runs):.0f}"),
    ("p50 ms", lambda runs: _milliseconds([run.p50_ms for run in runs])),
    ("p99 ms", lambda runs: _milliseconds([run.p99_ms for run in runs])),
    ("CPU µs", lambda runs: f"{_median([run.cpu_us for run in runs]):.0f}"),
    ("MB", lambda runs: f"{_median([run.resident_mb for run in runs]):.0f}"),
    ("bad", lambda runs: f"{sum(run.failures for run in runs)}"),
    ("half p50", lambda runs: _half(runs, lambda half: half.p50_ms)),
    ("half p99", lambda runs: _half(runs, lambda half: half.p99_ms)),
    ("gen %", lambda runs: f"{_median([run.generator_share for run in runs]) * 100:.0f}"),
)


def _milliseconds(values: Sequence[float | None]) -> str:
    present = [value for value in values if value is not None]
    return f"{_median(present):.2f}" if present else "-"


def _half(runs: Sequence[Measurement], read: Callable[[LoadResult], float | None]) -> str:
    return _milliseconds([read(run.half) for run in runs if run.half is not None])


def print_tables(ruled: Ruled) -> None:
    """A table a case, then the ratios, then what was absent."""
    for case in dict.fromkeys(key.case for key in ruled.runs):
        model, rows, protocol = case
        print(f"\n{model}, {rows} row{'s' if rows > 1 else ''}, {protocol}")
        print(f"  {'server':<20}" + "".join(f"{name:>10}" for name, _ in _COLUMNS))
        for key, runs in ruled.runs.items():
            if key.case == case:
                cells = "".join(f"{show(runs):>10}" for _, show in _COLUMNS)
                bound = _median([run.generator_share for run in runs]) >= GENERATOR_BOUND
                print(f"  {key.server:<20}{cells}{'  generator-bound' if bound else ''}")
    print("\nmooring against, times as many requests per second (rounds alternated)")
    for ratio in ratios(ruled):
        model, rows, protocol = ratio.case
        print(
            f"  {model:<7}{rows:>3} {protocol:<7}{ratio.against:<20}{ratio.median:>7.2f}"
            f"  [{ratio.low:.2f}, {ratio.high:.2f}] n={ratio.n}   CPU {ratio.cpu:.2f}"
        )
    for key, runs in ruled.runs.items():
        half = runs[-1].half
        if key.server == "mooring" and half and half.p50_ms and half.p99_ms:
            print(
                f"  at half of saturation, {key.model} {key.rows} {key.protocol}:"
                f" p99 / p50 = {half.p99_ms / half.p50_ms:.2f} (n={half.good})"
            )
    if ruled.generator is not None:
        print(
            f"  the load generator drove {ruled.generator.rate:.0f} requests a second at a server"
            f" that does nothing, {ruled.generator.generator_us:.1f} µs of its own core each"
        )
    for name, why in ruled.absent.items():
        print(f"  not measured: {name}: {why.strip().splitlines()[-1]}")


def write_document(ruled: Ruled, *, rounds: int, seconds: float) -> Path:
    """Write `build/bench/serving.json`; returns its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "serving.json"
    document = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rounds": rounds,
        "seconds": seconds,
        "notes": {name: contender.note for name, contender in CONTENDERS.items()},
        "generator": None if ruled.generator is None else asdict(ruled.generator),
        "results": [
            {
                **asdict(key),
                "role": _contender(key).role,
                "pairing": _contender(key).pairing,
                "runs": [asdict(run) for run in runs],
            }
            for key, runs in ruled.runs.items()
        ],
        "ratios": [asdict(ratio) for ratio in ratios(ruled)],
        "absent": dict(ruled.absent),
    }
    path.write_text(json.dumps(document, indent=1))
    return path
