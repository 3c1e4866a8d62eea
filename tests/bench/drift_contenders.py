"""Who judges in `make bench-drift`: we, the PSI rule, and rivals in environments of their own."""

import json
import math
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mooring_profile import (
    DriftDetector,
    FeatureKind,
    ReferenceProfile,
    Sketch,
    SketchRecorder,
    build_profile,
)
from tests.bench.environments import HERE, python_environment

ANNOUNCED = 1000
ANNOUNCEMENTS = (1000, 500, 200, 100, 50, 20, 10, 5)
PSI_LIMIT = 0.2
PSI_BINS = 10
PSI_EMPTY = 1e-4
_QUIET = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
"""Rivals that phone home are told not to."""


@dataclass(frozen=True)
class Rival:
    """A tool in an environment of its own.

    Attributes:
        name: as told.
        program: in `tests/bench/rivals`.
        requirements: that install and import on Python 3.11.
    """

    name: str
    program: str
    requirements: tuple[str, ...]


RIVALS = (
    Rival("evidently", "drift_evidently.py", ("evidently==0.7.23", "pandas<3")),
    Rival("nannyml", "drift_nannyml.py", ("nannyml==0.13.1", "statsmodels")),
    Rival("alibi-detect", "drift_alibi.py", ("alibi-detect==0.13.0",)),
    Rival("river", "drift_river.py", ("river==0.26.1",)),
)


class RivalFailed(Exception):
    """A rival's program ended badly; the message is the end of what it printed."""


def run_rival(rival: Rival, directory: Path) -> dict[str, Any]:
    """What a rival finds in all cases, by case.

    Raises:
        EnvironmentUnavailable: It cannot be installed.
        RivalFailed: It found nothing.
    """
    python = python_environment(rival.name, rival.requirements) / "python"
    done = subprocess.run(
        [str(python), str(HERE / "rivals" / rival.program), str(directory)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **_QUIET, "PYTHONPATH": ""},
    )
    path = directory / f"{rival.name}.json"
    if done.returncode or not path.exists():
        raise RivalFailed(f"{rival.name} ended with {done.returncode}: {done.stderr[-1500:]}")
    return json.loads(path.read_text())


def judge_here(directory: Path, judge: Callable[[Any], Any]) -> dict[str, Any]:
    """Runs a judge of this environment on all cases."""
    found: dict[str, Any] = {}
    for path in sorted(directory.glob("*.npz")):
        started = time.monotonic()
        with np.load(path) as case:
            alarms, strengths = judge(case)
        found[path.stem] = {
            "alarms": np.asarray(alarms).tolist(),
            "strengths": np.asarray(strengths).tolist(),
            "seconds": time.monotonic() - started,
        }
    return found


def judge_psi(case: Any) -> tuple[Any, Any]:
    """The rule of thumb: 10 bins of equal mass in the reference, drift above 0.2."""
    window = int(case["window"])
    rows = case["rows"].reshape(-1, window, case["rows"].shape[1])
    found = [
        _psi(case["reference"][:, index], rows[:, :, index], bool(case["categorical"][index]))
        for index in range(rows.shape[2])
    ]
    strengths = np.array(found).T
    return strengths > PSI_LIMIT, strengths


def _psi(reference: Any, windows: Any, named: bool) -> Any:
    known = reference[~np.isnan(reference)]
    if named:
        edges = np.append(np.unique(known), np.inf)
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, PSI_BINS + 1)))
        edges[0], edges[-1] = -np.inf, np.inf
    before = np.histogram(known, edges)[0] / known.size
    found: list[float] = []
    for values in windows:
        present = values[~np.isnan(values)]
        after = np.histogram(present, edges)[0] / present.size
        p, q = (np.maximum(shares, PSI_EMPTY) for shares in (before, after))
        found.append(float(((q - p) * np.log(q / p)).sum()))
    return found


def judge_ours(case: Any) -> tuple[Any, Any]:
    """The detector as it is shipped, with 1,000 windows announced, and with fewer.

    The strength of a window is log10 of the largest announcement at which it alarms; each begins
    again after its alarm where the case says so: otherwise every column gets its turn.
    """
    window, categorical = int(case["window"]), case["categorical"]
    reference, rows = case["reference"], case["rows"]
    names = [f"x{index}" for index in range(reference.shape[1])]
    kinds = {
        name: FeatureKind.CATEGORICAL if named else FeatureKind.NUMERIC
        for name, named in zip(names, categorical, strict=True)
    }
    columns = {name: reference[:, index] for index, name in enumerate(names)}
    profile = build_profile(columns, kinds, score=None, blocks=case["blocks"])
    restart = bool(case["restart"])
    levels = [_Level(profile, announced, restart) for announced in ANNOUNCEMENTS]
    recorder = SketchRecorder(profile)
    strengths = np.zeros((len(rows) // window, len(names)))
    for number in range(len(strengths)):
        part = rows[number * window : (number + 1) * window]
        recorder.record({name: part[:, index] for index, name in enumerate(names)}, None)
        sketch = recorder.snapshot()
        recorder.cells[:] = 0
        for level in levels:
            for name in level.alarmed(sketch):
                index = names.index(name)
                strengths[number, index] = max(
                    strengths[number, index], math.log10(level.announced)
                )
    return strengths >= math.log10(ANNOUNCED), strengths


class _Level:
    """A detector with one announcement, between windows."""

    def __init__(self, profile: ReferenceProfile, announced: int, restart: bool) -> None:
        self.announced = announced
        self._restart = restart
        self._detector = DriftDetector(profile, false_alarm_windows=announced)
        self._state = self._detector.initial()

    def alarmed(self, sketch: Sketch) -> set[str]:
        """The features that alarm after this window."""
        before = self._state
        self._state, any_alarm = self._detector.advance(before, sketch)
        if not any_alarm:
            return set()
        _, evidence = self._detector.step(before, sketch)
        if self._restart:
            self._state = self._detector.initial()
        return {item.feature for item in evidence if item.alarm}
