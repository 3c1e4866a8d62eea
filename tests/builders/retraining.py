"""A small world to retrain in: a champion, the log of traffic that changed, and a Job's task."""

import functools
import importlib
import json
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.build import package
from mooring_model.manifest import package_digest, read_manifest
from tests.builders.training_log import labels, moment, predictions, write_segments

pandas: Any = importlib.import_module("pandas")
_compose: Any = importlib.import_module("sklearn.compose")
_ensemble: Any = importlib.import_module("sklearn.ensemble")
_pipeline: Any = importlib.import_module("sklearn.pipeline")
_preprocessing: Any = importlib.import_module("sklearn.preprocessing")

FEATURES = ("carrier", "delay", "wind")
PER_DAY = 80
REGRESSION = "minutes"
BINARY = "late"
MULTICLASS = "grade"

Frame = Any
"""A `pandas.DataFrame`."""


def traffic(first_day: int, days: int, *, slope: float, seed: int) -> Frame:
    """Rows of some days, in which lateness follows `slope * delay` and the day's own luck.

    Args:
        first_day: Days after the first of March 2026.
        days: How many.
        slope: What a champion learns; another one later is the drift that it does not know.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    count = days * PER_DAY
    luck = np.repeat(rng.normal(scale=0.3, size=days), PER_DAY)
    delay = rng.normal(size=count)
    carrier = rng.choice(["AA", "DL", "UA"], count)
    value = slope * delay + 0.5 * (carrier == "UA") + luck + rng.normal(scale=0.7, size=count)
    times = [moment(first_day + number / PER_DAY) for number in range(count)]
    frame = pandas.DataFrame(
        {
            "time": pandas.to_datetime(times, utc=True).as_unit("us"),
            "carrier": carrier,
            "delay": delay,
            "wind": rng.normal(size=count),
            BINARY: (value > 0).astype(np.int64),
            MULTICLASS: np.array(["early", "due", "late"], dtype=object)[
                np.digitize(value, [-0.7, 0.7])
            ],
            REGRESSION: 10.0 * value,
        }
    )
    frame["label_time"] = frame["time"] + timedelta(hours=2)
    return frame


@functools.cache
def champion(target: str) -> Path:
    """A package fitted to ten days with slope 1, whose clients may leave `wind` out."""
    rows = traffic(-12, 10, slope=1.0, seed=1)
    rows.loc[rows.index % 7 == 0, "wind"] = np.nan
    codes = _preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = _compose.ColumnTransformer(
        [("codes", codes, ["carrier"]), ("numbers", "passthrough", ["delay", "wind"])]
    )
    make = (
        _ensemble.HistGradientBoostingRegressor
        if target == REGRESSION
        else _ensemble.HistGradientBoostingClassifier
    )
    model = make(max_iter=20, max_leaf_nodes=8, random_state=0)
    steps = _pipeline.Pipeline([("columns", columns), ("model", model)])
    steps.fit(rows[list(FEATURES)], rows[target])
    out = Path(tempfile.mkdtemp(prefix="mooring-champion-")) / target
    package(
        steps,
        rows[["time", *FEATURES, target]],
        target=target,
        out=out,
        name="flight-delay",
        time_column="time",
        parameters={"max_iter": 20, "max_leaf_nodes": 8},
    )
    return out


def write_log(root: Path, rows: Frame, *, target: str, pod: str = "pod-a") -> None:
    """Both logs of deployment `ns/dep` below `root`."""
    folder = root / "ns" / "dep"
    asked = predictions(rows, FEATURES, time_column="time")
    write_segments(folder, "predictions", asked, pod=pod)
    write_segments(folder, "labels", labels(rows, target=target, time_column="label_time"), pod=pod)


def task(root: Path, *, target: str, run: str = "run-1", **changes: Any) -> dict[str, str]:
    """The environment of a Job whose log is `root/log` and whose output is `root/out`."""
    package_folder = champion(target)
    document = {
        "run": run,
        "model": "flight-delay",
        "namespace": "ns",
        "deployment": "dep",
        "champion": {
            "version": "v1",
            "uri": f"file://{package_folder}",
            "digest": package_digest(read_manifest(package_folder)),
        },
        "log": {"uri": f"file://{root}/log"},
        "output": {"uri": f"file://{root}/out"},
        "data": {
            "window": "30d",
            "labelMaturity": "12h",
            "minRows": 500,
            "testWindow": "7d",
            "embargo": "6h",
        },
        "tuning": {"maxTrials": 1, "timeout": "60s"},
        "evaluation": {"alpha": 0.05, "minEffect": 0.0, "block": "1d", "minBlocks": 5},
        "seed": 3,
    }
    return {"MOORING_TRAINING": json.dumps(document | changes)}


def forget_result(root: Path, *names: str, run: str = "run-1") -> None:
    """Remove files of a run's output, as if the Job had been killed before it wrote them."""
    for name in names:
        path = root / "out" / run / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
