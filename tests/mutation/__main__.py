"""`make mutation-rollouts`: does a test notice when a line of the rollout rooms is changed?

cosmic-ray makes the mutants. Of all there are thousands, so that a seeded sample is tried, on a
copy of the tree, one at a time and within a time limit. Two sorts are left out, since they say
nothing of our tests: `X | None` in annotations with another operator (every import fails), and
`is` against `==` on enums and None (nothing changes).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

HOME = Path("build/mutation")
REPORT = Path("build/mutation.json")
ROOM = "operator/mooring_operator/core/rollout"
TESTS = (
    "tests/unit/core",
    "tests/simulation/test_edges.py",
    "tests/simulation/test_traffic.py",
    "tests/simulation/test_rollouts.py",
    "tests/simulation/test_verbs.py",
    "tests/simulation/test_after_promotion.py",
)
LEFT_OUT = (
    "operator_name LIKE '%BitOr%' OR operator_name LIKE '%Is_Eq'"
    " OR operator_name LIKE '%Eq_Is' OR operator_name LIKE '%IsNot_NotEq'"
    " OR operator_name LIKE '%NotEq_IsNot'"
)
TIMEOUT = 240.0
"""Seconds of one mutant's tests, after which it counts as killed: it never ends."""


def main() -> int:
    """Tries the sample; 0 when the score is reached over at least `--least` mutants."""
    options = _options()
    tree, session = _prepare()
    total, chosen = _sample(session, options.mutants, options.seed)
    print(f"{chosen} of {total} mutants, seed {options.seed}", flush=True)
    spent = _run(tree, session, options.seconds)
    report: dict[str, Any] = _report(session) | {
        "mutants": total,
        "sampled": chosen,
        "seed": options.seed,
        "seconds": round(spent, 1),
    }
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{report['killed']} of {report['tried']} killed, score {report['score']:.1%}")
    for survivor in report["survivors"]:
        print(f"  {survivor['where']} {survivor['operator']}\n{survivor['diff']}")
    enough = report["tried"] >= options.least and report["score"] >= options.score
    return 0 if enough else 1


def _prepare() -> tuple[Path, Path]:
    """A copy of the tree with a fresh session beside it."""
    shutil.rmtree(HOME, ignore_errors=True)
    tree = (HOME / "tree").absolute()
    for name in ("operator", "serving", "tests"):
        shutil.copytree(name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy("pyproject.toml", tree)
    test = f"{sys.executable} -m pytest -x -q -p no:cacheprovider {' '.join(TESTS)}"
    (tree / "session.toml").write_text(
        f'[cosmic-ray]\nmodule-path = "{ROOM}"\ntimeout = {TIMEOUT}\nexcluded-modules = []\n'
        f'test-command = "{test}"\n\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    session = tree / "session.sqlite"
    subprocess.run(
        [*_cosmic_ray(), "init", "session.toml", session.name],
        cwd=tree,
        env=_environment(tree),
        check=True,
    )
    return tree, session


def _sample(session: Path, count: int, seed: int) -> tuple[int, int]:
    """Leaves a random sample in the session; how many there were, and are."""
    with closing(sqlite3.connect(session)) as database, database:
        query = f"SELECT job_id FROM mutation_specs WHERE NOT ({LEFT_OUT}) ORDER BY module_path,"  # noqa: S608
        query += " start_pos_row, start_pos_col, operator_name, occurrence, operator_args"
        jobs = [row[0] for row in database.execute(query)]
        kept = random.Random(seed).sample(jobs, min(count, len(jobs)))  # noqa: S311
        marks = ",".join("?" * len(kept))
        for table in ("mutation_specs", "work_items"):
            database.execute(f"DELETE FROM {table} WHERE job_id NOT IN ({marks})", kept)  # noqa: S608
    return len(jobs), len(kept)


def _run(tree: Path, session: Path, seconds: float) -> float:
    """Tries mutants until all are tried or the time is up. Returns seconds."""
    began = time.monotonic()
    process = subprocess.Popen(
        ["nice", *_cosmic_ray(), "exec", "session.toml", session.name],
        cwd=tree,
        env=_environment(tree),
        start_new_session=True,
    )
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    return time.monotonic() - began


def _report(session: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(session)) as database:
        rows = database.execute(
            "SELECT module_path, start_pos_row, operator_name, test_outcome, diff"
            " FROM mutation_specs JOIN work_results USING (job_id)"
        ).fetchall()
    survivors = [
        {"where": f"{path}:{row}", "operator": operator, "diff": diff}
        for path, row, operator, outcome, diff in rows
        if outcome == "SURVIVED"
    ]
    tried = len(rows)
    killed = tried - len(survivors)
    score = killed / tried if tried else 0.0
    return {"tried": tried, "killed": killed, "score": score, "survivors": survivors}


def _cosmic_ray() -> list[str]:
    return [str(Path(sys.executable).with_name("cosmic-ray"))]


def _environment(tree: Path) -> dict[str, str]:
    """The copy's own code, and not the one that is installed in the environment."""
    path = os.pathsep.join(str(tree / name) for name in ("", "operator", "serving"))
    return os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5400.0)
    parser.add_argument("--least", type=int, default=300, help="mutants below which it fails")
    parser.add_argument("--score", type=float, default=0.85)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
