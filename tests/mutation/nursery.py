"""Tests of one mutant in a fork of a process that has all libraries loaded, and no room.

Importing them takes longer than most mutants live. The process gets a limit in seconds and a room
on a line, judges the tree as it is then, and answers with an outcome and seconds.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.mutation.mutants import ROOM, environment

_MODULE = "mooring_operator.core.rollout"
UNITS = (
    "tests/unit/core/test_core_decide.py",
    "tests/unit/core/test_core_held_rollouts.py",
    "tests/unit/core/test_core_corners.py",
    "tests/unit/core/test_core_restarts.py",
    "tests/unit/core/test_core_soak.py",
    "tests/unit/core/test_core_first_revision.py",
    "tests/unit/core/test_core_analysis.py",
    "tests/unit/core/test_core_traffic.py",
    "tests/unit/core/test_core_monitoring.py",
    "tests/unit/core/test_core_distribution.py",
    "tests/unit/core/test_core_way_back.py",
    "tests/unit/core/test_core_revision.py",
    "tests/unit/core/test_core_gateway.py",
    "tests/unit/core/test_core_rollback_to.py",
    "tests/unit/core/test_core_kept.py",
    "tests/unit/core/test_core_runtime.py",
)
"""What kills most mutants, and fast."""
_TABLE = ("test_transition_table.py", "test_rollouts.py")
_AFTER = ("test_after_promotion.py", "test_blame.py")
_LIVES = {
    "achieved": ("test_traffic.py", *_TABLE),
    "analysing": ("test_gaps.py", *_TABLE),
    "approval": ("test_verbs.py",),
    "blame": _AFTER,
    "budget": ("test_rollback_limits.py",),
    "gateway": ("test_gateway.py",),
    "monitoring": ("test_gaps.py", *_AFTER),
    "pod_update": ("test_pod_updates.py",),
    "plan": ("test_quarantine_ends.py", *_TABLE),
    "probe": _AFTER,
    "quarantine": ("test_quarantine_ends.py",),
    "raising": ("test_edited_steps.py",),
    "revert": _AFTER,
    "rollback": ("test_gaps.py", *_TABLE),
    "settled": (*_TABLE, *_AFTER),
    "soak": ("test_edges.py", *_AFTER),
    "steps": ("test_traffic.py", "test_edited_steps.py", *_TABLE),
    "verbs": ("test_verbs.py",),
    "way_back": _AFTER,
}
"""Lives that are about a room; of all other rooms the table is tried."""
TOO_SLOW = (
    "not dies_at_any and not every_verb and not another_revision_changes_nothing"
    " and not quarantine_lasts and not labels_do_not_tell_in_time and not its_budget_is_spent"
    " and not clock_stands_still_while_counters and not shown_weight_is_the_truth"
)
"""Tests that take as long as all others: what they alone would kill counts as surviving."""
ALL = "all"
"""In the place of a room: the lives of every one."""
_LOADED = (
    "pytest",
    "hypothesis.stateful",
    "numpy",
    "mooring_operator.api.deployment",
    "mooring_operator.api.deployment_status",
    "mooring_operator.api.model",
    "mooring_operator.api.retrain",
    "mooring_profile",
)
SAID = "tests.log"
"""Below the tree: what the last tests said."""
_SURVIVED, _KILLED, _INCOMPETENT = 0, 1, 3


class Outcome(StrEnum):
    """What became of a mutant."""

    SURVIVED = "survived"
    KILLED = "killed"
    ENDLESS = "endless"
    """Its tests had not ended in time: noticed as well."""
    INCOMPETENT = "incompetent"
    """It cannot be imported."""


_OUTCOMES = {
    _SURVIVED: Outcome.SURVIVED,
    _KILLED: Outcome.KILLED,
    _INCOMPETENT: Outcome.INCOMPETENT,
}


class Nursery:
    """The process that forks; one at a time."""

    def __init__(self, tree: Path) -> None:
        """Starts nothing yet."""
        self._tree = tree
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Starts it."""
        self._process = subprocess.Popen(
            ["nice", "-n", "10", sys.executable, "-m", "tests.mutation.nursery"],
            cwd=self._tree,
            env=environment(self._tree),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(timeout=60)

    def judge(self, limit: float, room: str) -> tuple[Outcome, float]:
        """What the tests of a room say of the tree as it is now, and in how many seconds."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("the nursery was not entered")
        print(limit, room, file=process.stdin, flush=True)
        outcome, seconds = process.stdout.readline().split()
        return Outcome(outcome), float(seconds)


def _serve() -> None:
    """Answers line by line."""
    answers = os.fdopen(os.dup(1), "w")
    said = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    for name in _LOADED:
        importlib.import_module(name)
    if any(name.startswith(_MODULE) for name in sys.modules):
        raise RuntimeError("a room was loaded before its mutants")
    for line in sys.stdin:
        began = time.monotonic()
        limit, room = line.split()
        outcome = _judged(float(limit), room)
        print(outcome, round(time.monotonic() - began, 2), file=answers, flush=True)


def _judged(limit: float, room: str) -> Outcome:
    os.ftruncate(1, 0)
    os.lseek(1, 0, os.SEEK_SET)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        code = _KILLED
        try:
            code = _verdict(room)
        except BaseException:  # noqa: BLE001 a fork must not return, and a mutant may raise anything
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    ends = time.monotonic() + limit
    while time.monotonic() < ends:
        ended, state = os.waitpid(child, os.WNOHANG)
        if ended:
            return _OUTCOMES.get(os.waitstatus_to_exitcode(state), Outcome.KILLED)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return Outcome.ENDLESS


def _verdict(room: str) -> int:
    """In the fork: the exit code."""
    try:
        for module in sorted(Path(ROOM).glob("*.py")):
            importlib.import_module(f"{_MODULE}.{module.stem}".removesuffix(".__init__"))
    except BaseException:  # noqa: BLE001 whatever a mutant's import raises
        return _INCOMPETENT
    pytest = importlib.import_module("pytest")
    # Libraries with plugins are loaded before pytest could rewrite them.
    options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", TOO_SLOW)
    options += ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    for stage in (UNITS, _lives(room)):
        if pytest.main([*options, *stage]):
            return _KILLED
    return _SURVIVED


def _lives(room: str) -> list[str]:
    every = sorted({name for names in _LIVES.values() for name in names})
    names = every if room == ALL else _LIVES.get(room, _TABLE)
    return [f"tests/simulation/{name}" for name in names]


if __name__ == "__main__":
    _serve()
