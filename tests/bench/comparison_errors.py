"""`make bench-compare`: how often an equal candidate is rolled back, and how soon a worse one.

Minutes of 200 requests, looked at after each, by four rules: `mooring compare replay` (windows),
the operator (totals), the usual z-test at each look and the usual fixed threshold. Prints tables
and writes `build/bench/compare.json`.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.comparison_simulation import (
    NEVER,
    WORLDS,
    Rollouts,
    first_look,
    half_above_baseline,
    limits,
    repeated_z_test,
    simulate,
    steady,
    totals_evidence,
    window_evidence,
)

ALPHA = 0.01
MARGIN = 0.002
SHARES = (0.05, 0.5)
WINDOWS = 240
Rule = Callable[[Rollouts], Any]
RULES: dict[str, Rule] = {
    "windows, margin 0.002": lambda seen: window_evidence(seen, MARGIN) >= -math.log(ALPHA),
    "windows, margin 0": lambda seen: window_evidence(seen, 0.0) >= -math.log(ALPHA),
    "windows, margin 0.01": lambda seen: window_evidence(seen, 0.01) >= -math.log(ALPHA),
    "totals, margin 0": lambda seen: totals_evidence(seen, 0.0) >= -math.log(ALPHA),
    "totals, margin 0.01": lambda seen: totals_evidence(seen, 0.01) >= -math.log(ALPHA),
    "z-test at each look": lambda seen: repeated_z_test(seen, ALPHA),
    "1.5 x baseline, 20 min": half_above_baseline,
}
WORSE = {0.1: 90, 0.04: 600}
"""Rates of a worse candidate (stable: 2 %), and how many windows are waited for it."""


def measure_false(runs: int, seed: int) -> dict[str, Any]:
    """Rollbacks of an equal candidate, by rule, world and share."""
    found: dict[str, Any] = {}
    for rule, judge in RULES.items():
        for world, rates in WORLDS.items():
            for share in SHARES:
                rng = np.random.default_rng((seed, int(100 * share)))
                seen = simulate(rates(WINDOWS), rates(WINDOWS), share, runs, rng)
                hits = int((first_look(judge(seen)) < NEVER).sum())
                found.setdefault(rule, {}).setdefault(world, {})[f"{share:g}"] = {
                    "runs": runs,
                    "falseRollbacks": hits,
                    "rate": hits / runs,
                    "limits95": limits(hits, runs),
                }
        _say(rule, {w: [c["falseRollbacks"] for c in v.values()] for w, v in found[rule].items()})
    return found


def measure_power(runs: int, seed: int) -> dict[str, Any]:
    """Windows until a worse candidate is rolled back, by rule, rate and share."""
    found: dict[str, Any] = {}
    for rule, judge in RULES.items():
        for rate, windows in WORSE.items():
            for share in SHARES:
                rng = np.random.default_rng((seed, int(100 * share)))
                seen = simulate(steady(windows), np.full(windows, rate), share, runs, rng)
                first = first_look(judge(seen))
                within = int((first <= 10).sum())
                found.setdefault(rule, {}).setdefault(f"{rate:g}", {})[f"{share:g}"] = {
                    "runs": runs,
                    "missed": int((first == NEVER).sum()),
                    "median": _known(np.median(first)),
                    "p90": _known(np.quantile(first, 0.9, method="higher")),
                    "within10": within / runs,
                    "within10limits95": limits(within, runs),
                }
        _say(
            rule, {r: [(c["median"], c["p90"]) for c in v.values()] for r, v in found[rule].items()}
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="runs of each cell")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/bench/compare.json"))
    options = parser.parse_args()
    began = time.monotonic()
    _say(f"rollbacks of an equal candidate in {options.runs} runs, share {SHARES}", "")
    false = measure_false(options.runs, options.seed)
    _say("windows to the rollback of a worse candidate: median and p90", "")
    power = measure_power(options.runs, options.seed)
    document = {
        "alpha": ALPHA,
        "windows": WINDOWS,
        "requestsAWindow": 200,
        "equalCandidate": false,
        "worseCandidate": power,
        "seconds": round(time.monotonic() - began),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    sys.stdout.write(f"{options.out}: {document['seconds']} s\n")


def _known(window: float) -> float | None:
    return None if window >= NEVER else float(window)


def _say(name: str, row: object) -> None:
    sys.stdout.write(f"{name:60} {row}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
