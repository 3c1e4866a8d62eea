"""What `bench-operator` prints: one table a size, ours beside the yardstick, and their ratios."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.operator_contenders import OURS, YARDSTICK

Document = Mapping[str, Any]
_COLUMNS = (
    "phase",
    "controller",
    "seconds",
    "CPU s",
    "server CPU s",
    "load",
    "RSS MB",
    "peak",
    "looks",
    "writes",
    "reads",
    "observed p50 / p95 / p99 s",
    "Ready p99 s",
    "lag p99 / max ms",
)


def print_tables(runs: Sequence[Document]) -> None:
    """One table for each size, then the ratios."""
    for count in dict.fromkeys(run["deployments"] for run in runs):
        sized = {run["controller"]: run for run in runs if run["deployments"] == count}
        print(f"\n{count} ModelDeployments")
        rows = [_COLUMNS, *_rows(sized)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            print("  ".join(cells).rstrip())
        for line in ratios(sized):
            print(line)


def _rows(sized: Mapping[str, Document]) -> list[tuple[str, ...]]:
    names = [phase["phase"] for run in sized.values() for phase in run["phases"]]
    return [
        _row(run["controller"], phase)
        for name in dict.fromkeys(names)
        for run in sized.values()
        for phase in run["phases"]
        if phase["phase"] == name
    ]


def _row(controller: str, phase: Document) -> tuple[str, ...]:
    observed, ready, lag = phase["observed"], phase["ready"], phase["loopLag"]
    return (
        phase["phase"],
        controller,
        f"{phase['seconds']:.1f}",
        f"{phase['cpuSeconds']:.2f}",
        f"{phase['serverCpuSeconds']:.1f}",
        f"{phase['load1']:.1f}",
        f"{phase['residentMb']:.0f}",
        f"{phase['peakMb']:.0f}",
        str(phase["looks"]),
        str(phase["writes"]),
        str(sum(phase["requests"].values()) - phase["writes"]),
        "" if observed is None else f"{observed['p50']} / {observed['p95']} / {observed['p99']}",
        "" if ready is None else f"{ready['p99']}",
        "" if lag is None else f"{lag['p99'] * 1e3:.0f} / {lag['max'] * 1e3:.0f}",
    )


def ratios(sized: Mapping[str, Document]) -> list[str]:
    """Ours over the yardstick's, by phase: CPU time, memory, and the 99th percentile."""
    if OURS not in sized or YARDSTICK not in sized:
        return []
    theirs = {phase["phase"]: phase for phase in sized[YARDSTICK]["phases"]}
    lines = [f"{OURS} / {YARDSTICK}:"]
    for phase in sized[OURS]["phases"]:
        other = theirs.get(phase["phase"])
        if other is None:
            continue
        told = [
            f"CPU {_ratio(phase['cpuSeconds'], other['cpuSeconds'])}",
            f"memory {_ratio(phase['residentMb'], other['residentMb'])}",
            f"seconds {_ratio(phase['seconds'], other['seconds'])}",
            f"writes {_ratio(phase['writes'], other['writes'])}",
        ]
        if phase["observed"] is not None and other["observed"] is not None:
            told.append(
                f"observed p99 {_ratio(phase['observed']['p99'], other['observed']['p99'])}"
            )
        lines.append(f"  {phase['phase']}: {', '.join(told)}")
    return lines


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}" if other else "-"
