"""`make mutation-rollouts`: does a test notice when a line of the rollout rooms is changed?

cosmic-ray makes the mutants. Of all there are thousands, so that a seeded sample is tried, drawn
before anything runs and evenly from the rooms, on a copy of the tree, one mutant at a time. A
mutant that cannot even be imported says nothing of our tests and is counted apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutation.mutants import Mutant, all_mutants, copied_tree, drawn_evenly
from tests.mutation.nursery import ALL, SAID, Nursery, Outcome
from tests.mutation.score import wilson

REPORT = Path("build/mutation.json")
TIMES_LONGER = 4.0
"""Than the lives of all rooms take may those of a mutant: then it counts as killed."""


@dataclass(frozen=True)
class Trial:
    """A mutant, what became of it, and the change that it is."""

    mutant: Mutant
    outcome: Outcome
    diff: str


def main() -> int:
    """Tries the sample; 0 when the score is reached over at least `--least` mutants."""
    options = _options()
    began = time.monotonic()
    tree = copied_tree()
    mutants = all_mutants(tree)
    sample = drawn_evenly(mutants, options.mutants, options.seed)
    print(f"{len(sample)} of {len(mutants)} mutants, seed {options.seed}", flush=True)
    tried: list[Trial] = []
    with Nursery(tree) as nursery:
        outcome, seconds = nursery.judge(900.0, ALL)
        if outcome is not Outcome.SURVIVED:
            print(f"the tests do not pass on the unchanged tree: {tree / SAID}")
            return 1
        print(f"the unchanged tree takes {seconds:.1f} s", flush=True)
        for number, mutant in enumerate(sample, 1):
            if time.monotonic() - began > options.seconds:
                break
            with mutant.applied(tree) as diff:
                outcome, spent = nursery.judge(max(60.0, TIMES_LONGER * seconds), mutant.room)
            tried.append(Trial(mutant, outcome, diff))
            print(f"{number} {outcome} {spent:.1f} s {mutant.where} {mutant.operator}", flush=True)
            _write(tried, options, len(mutants), time.monotonic() - began)
    report = _write(tried, options, len(mutants), time.monotonic() - began)
    _show(report)
    enough = report["n"] >= options.least and report["score"] >= options.score
    return 0 if enough else 1


def _write(
    tried: Sequence[Trial], options: argparse.Namespace, all_: int, seconds: float
) -> dict[str, Any]:
    """The report so far, written at each mutant: a run may be cut off."""
    counts = Counter(trial.outcome for trial in tried)
    killed = counts[Outcome.KILLED] + counts[Outcome.ENDLESS]
    judged = killed + counts[Outcome.SURVIVED]
    rooms: dict[str, Counter[str]] = {}
    for trial in tried:
        rooms.setdefault(trial.mutant.room, Counter())[trial.outcome.value] += 1
    report: dict[str, Any] = {
        "n": judged,
        "killed": killed,
        "score": killed / judged if judged else 0.0,
        "interval": wilson(killed, judged),
        "incompetent": counts[Outcome.INCOMPETENT],
        "endless": counts[Outcome.ENDLESS],
        "mutants": all_,
        "asked": options.mutants,
        "seed": options.seed,
        "seconds": round(seconds, 1),
        "rooms": {room: dict(found) for room, found in sorted(rooms.items())},
        "survivors": [
            {
                "where": trial.mutant.where,
                "operator": trial.mutant.operator,
                "diff": trial.diff,
            }
            for trial in tried
            if trial.outcome is Outcome.SURVIVED
        ],
    }
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    return report


def _show(report: dict[str, Any]) -> None:
    low, high = report["interval"]
    for survivor in report["survivors"]:
        print(f"  {survivor['where']} {survivor['operator']}\n{survivor['diff']}")
    print(
        f"{report['killed']} of {report['n']} killed, score {report['score']:.1%}"
        f" (95 % interval {low:.1%} to {high:.1%}); {report['endless']} of them never ended;"
        f" {report['incompetent']} more could not be imported"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5400.0)
    parser.add_argument("--least", type=int, default=250, help="judged mutants, else it fails")
    parser.add_argument("--score", type=float, default=0.85)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
