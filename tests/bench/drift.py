"""`make bench-drift`: our drift detector, rivals and the PSI rule on the same rows.

False alarms on stationary streams, delay of real changes (as shipped, and at thresholds matched to
one false alarm in a thousand windows), nannyml's car loans, and a shift too small to care about.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, cast

from tests.bench.drift_cases import CHANGES, SMOKE, Sizes, write_cases
from tests.bench.drift_contenders import (
    ANNOUNCED,
    RIVALS,
    Rival,
    judge_here,
    judge_ours,
    judge_psi,
    run_rival,
)
from tests.bench.drift_readings import (
    Judgements,
    car_loans,
    delay,
    false_alarms,
    matched_threshold,
    seconds_a_window,
    trivial,
)
from tests.bench.drift_streams import StreamName
from tests.bench.drift_tables import plot, print_tables
from tests.bench.ours import RESULTS, write_result

OURS = "mooring"


def judge_everything(directory: Path) -> dict[str, dict[str, Any]]:
    """All judgements by tool: the rivals two at a time, we meanwhile."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = {rival.name: pool.submit(run_rival, rival, directory) for rival in RIVALS}
        found = {
            OURS: judge_here(directory, judge_ours),
            "PSI > 0.2": judge_here(directory, judge_psi),
        }
        for name, future in waiting.items():
            found[name] = future.result()
            print(f"[mooring] judged: {name}", flush=True)
    return found


def read_tool(judgements: Judgements) -> dict[str, Any]:
    """Everything that is told about one tool."""
    threshold = matched_threshold(judgements)
    rules = {"shipped": None, "matched": threshold}
    return {
        "threshold": threshold,
        "falseAlarms": {
            stream.value: {
                rule: false_alarms(judgements, f"stationary-{stream.value}", limit)
                for rule, limit in rules.items()
            }
            for stream in StreamName
        },
        "calibration": {
            rule: false_alarms(judgements, "calibration", limit) for rule, limit in rules.items()
        },
        **{
            change: {rule: delay(judgements, change, limit) for rule, limit in rules.items()}
            for change in CHANGES
        },
        "carLoans": car_loans(judgements),
        "trivial": trivial(judgements),
        "secondsAWindow": seconds_a_window(judgements),
    }


def plain(value: object) -> object:
    """JSON's types alone."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(key): plain(item) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in cast("Sequence[object]", value)]
    return value


def versions(rivals: tuple[Rival, ...]) -> dict[str, list[str]]:
    """What was installed."""
    return {rival.name: list(rival.requirements) for rival in rivals}


def main() -> None:
    """Measure, print, write `build/bench/drift.json` and `build/bench/drift.svg`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("smoke", nargs="?", choices=["SMOKE"], help="a short run")
    sizes = SMOKE if parser.parse_args().smoke else Sizes()
    with tempfile.TemporaryDirectory(prefix="mooring-drift-") as scratch:
        directory = Path(scratch)
        write_cases(directory, sizes)
        judged = judge_everything(directory)
    tools = {name: read_tool(judgements) for name, judgements in judged.items()}
    found: Any = plain(
        {"announcedWindows": ANNOUNCED, "sizes": asdict(sizes), "rivals": versions(RIVALS),
         "tools": tools}
    )  # fmt: skip
    print_tables(found)
    written = write_result("drift", found)
    picture = RESULTS / "drift.svg"
    picture.write_text(plot(found), encoding="utf-8")
    print(f"\nwritten to {written} and {written.with_suffix('.svg')}")


if __name__ == "__main__":
    main()
