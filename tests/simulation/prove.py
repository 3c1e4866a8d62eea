"""`make prove-rollouts`: drawn lives of a deployment until so many steps, with what they reached.

The run is seeded: a failure prints the life that led to it and the seed that finds it again. It
fails as well when a row of the state table was not reached, or when the time did not suffice.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.census import Census, counting_in
from tests.simulation.machine import Deployments
from tests.simulation.witness import watched_by

REPORT = Path("build/rollouts.json")
LIVES = 20
"""Between two lines of progress."""
STEPS_OF_A_LIFE = 80


def main() -> int:
    """Runs the proof; 0 when everything held and was reached."""
    options = _options()
    census, began = Census(), time.monotonic()
    number = options.seed
    with counting_in(census), watched_by(census.saw):
        while census.steps < options.steps and time.monotonic() - began < options.seconds:
            _live(number)
            number += 1
            spent = time.monotonic() - began
            print(f"{census.steps} of {options.steps} steps in {spent:.0f} s", flush=True)
    report = {
        "steps": census.steps,
        "asked": options.steps,
        "seeds": [options.seed, number - 1],
        "seconds": round(time.monotonic() - began, 1),
        "hypothesis": version("hypothesis"),
        "missing": sorted(census.missing),
        **census.as_document(),
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    _show(report)
    return 1 if census.missing or census.steps < options.steps else 0


def _live(number: int) -> None:
    """Some lives, all from one seed."""
    chosen = settings(
        max_examples=LIVES,
        stateful_step_count=STEPS_OF_A_LIFE,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    try:
        run_state_machine_as_test(seed(number)(Deployments), settings=chosen)
    except BaseException:
        print(f"seed {number}: run again with ARGS='--seed {number} --steps 1'", flush=True)
        raise


def _show(report: Mapping[str, Any]) -> None:
    print(
        f"{report['steps']} steps, seeds {report['seeds'][0]} to {report['seeds'][1]},"
        f" {report['seconds']} s: P1 to P9 held"
    )
    for name in ("rules", "states", "standings", "stages", "outcomes", "rollbacks", "verbs"):
        counts: Mapping[str, int] = report[name]
        print(f"{name} ({len(counts)}): " + ", ".join(f"{k} {n}" for k, n in counts.items()))
    if report["missing"]:
        print(f"rows of the state table that were not reached: {report['missing']}")
    if report["steps"] < report["asked"]:
        print(f"only {report['steps']} of {report['asked']} steps in the time: raise --seconds")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3000.0, help="give up after so long")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
