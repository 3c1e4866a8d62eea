"""Which model to train: the trials, their pipelines, and the choice by later rows.

The champion's features decide the shape: ordinal codes and gradient-boosted trees, or one-hot
codes and a linear model, both of which convert to ONNX exactly. Trials are judged on the last
fifths of the training time, never on the test rows. The scikit-learn edge.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from mooring_model.infer_schema import Frame
from mooring_model.schema import Datatype, ModelSchema, Task
from mooring_training.comparison import Floats, absolute_error, class_log_loss

_compose: Any = importlib.import_module("sklearn.compose")
_ensemble: Any = importlib.import_module("sklearn.ensemble")
_impute: Any = importlib.import_module("sklearn.impute")
_linear: Any = importlib.import_module("sklearn.linear_model")
_pipeline: Any = importlib.import_module("sklearn.pipeline")
_preprocessing: Any = importlib.import_module("sklearn.preprocessing")
_threads: Any = importlib.import_module("threadpoolctl")

Estimator = Any
"""A scikit-learn pipeline."""

FOLDS = ((0.6, 0.8), (0.8, 1.0))
"""Shares of the training time: fitted before the first, judged up to the second."""
LEAST_FOLD_ROWS = 50
PARALLEL_ROWS = 500_000
"""From so many rows on, all cores fit one model. Below, OpenMP threads that spin on a busy node
take four times as long as one thread does (measured: 44,000 rows, 1 s against 4 s)."""
_MICROSECOND = timedelta(microseconds=1)


class Family(StrEnum):
    """The kinds of model that are tried."""

    TREES = "trees"
    """Histogram gradient boosting."""
    LINEAR = "linear"
    """Logistic or ridge regression."""


@dataclass(frozen=True)
class Trial:
    """One choice of hyperparameters.

    Attributes:
        family: Which kind of model.
        settings: Its estimator's arguments.
        half_life_days: Age at which a row weighs half; None weighs all alike.
    """

    family: Family
    settings: Mapping[str, float] = field(default_factory=dict[str, float])
    half_life_days: float | None = None

    def to_parameters(self) -> dict[str, object]:
        """As recorded in `parameters.json`, and read back by `champion_trial`."""
        return {
            "family": self.family.value,
            "halfLifeDays": self.half_life_days,
            **dict(self.settings),
        }


@dataclass(frozen=True)
class Choice:
    """What tuning found.

    Attributes:
        trial: The best trial.
        loss: Its mean loss on the validation rows; None when nothing could be validated.
        trials: How many were judged.
    """

    trial: Trial
    loss: float | None
    trials: int


TREE_SETTINGS = {
    "max_iter": (60, 100, 150, 200, 300),
    "max_leaf_nodes": (6, 8, 15, 31),
    "learning_rate": (0.03, 0.05, 0.1),
    "min_samples_leaf": (20, 50, 100, 200),
    "l2_regularization": (0.0, 1.0, 5.0),
}


@dataclass(frozen=True)
class _Bounds:
    """Which values of a champion's record an estimator takes."""

    low: float
    high: float
    whole: bool = False

    def admit(self, value: object) -> float | None:
        """The value as a number; None when it is none, or beyond the bounds."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if self.whole and not isinstance(value, int):
            return None
        return value if self.low <= value <= self.high else None


_BOUNDS: Mapping[str, Mapping[str, _Bounds]] = {
    Family.TREES: {
        "max_iter": _Bounds(1, 2000, whole=True),
        "max_leaf_nodes": _Bounds(2, 1024, whole=True),
        "learning_rate": _Bounds(1e-4, 1.0),
        "min_samples_leaf": _Bounds(1, 100_000, whole=True),
        "l2_regularization": _Bounds(0.0, 1e6),
    },
    Family.LINEAR: {"C": _Bounds(1e-6, 1e6)},
}
_HALF_LIFE = _Bounds(0.1, 36_500.0)
HALF_LIVES = (None, None, 30.0, 14.0)
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
_STEADY = Trial(
    Family.TREES,
    {
        "max_iter": 150,
        "max_leaf_nodes": 15,
        "learning_rate": 0.05,
        "min_samples_leaf": 100,
        "l2_regularization": 1.0,
    },
)


def champion_trial(parameters: Mapping[str, object]) -> Trial | None:
    """The champion's own hyperparameters, where its package records some that we know.

    A package may record anything: without a family, boosted trees are told by both `max_iter`
    (which a logistic regression has too) and `max_leaf_nodes` or `learning_rate`, and what no
    estimator takes is left out.
    """
    boosted = "max_iter" in parameters and not parameters.keys().isdisjoint(
        ("max_leaf_nodes", "learning_rate")
    )
    name = str(parameters.get("family", Family.TREES.value if boosted else ""))
    if name not in _BOUNDS:
        return None
    family = Family(name)
    settings = {
        name: value
        for name, bounds in _BOUNDS[family].items()
        if (value := bounds.admit(parameters.get(name))) is not None
    }
    if not settings:
        return None
    return Trial(family, settings, _HALF_LIFE.admit(parameters.get("halfLifeDays")))


def trials(first: Trial | None, *, limit: int, rng: np.random.Generator) -> Iterator[Trial]:
    """At most `limit` different trials: the champion's, steady trees, linear, then drawn ones.

    Args:
        first: Tried before all others; None when the champion records none.
        limit: How many.
        rng: For the drawn ones.
    """
    linear = Trial(Family.LINEAR, {"C": 1.0})
    fixed = [trial for trial in (first, _STEADY, linear) if trial is not None]
    seen: list[Trial] = []
    for _ in range(100 * limit):
        trial = fixed.pop(0) if fixed else _draw(rng)
        if trial in seen:
            continue
        seen.append(trial)
        yield trial
        if len(seen) == limit:
            return


def _draw(rng: np.random.Generator) -> Trial:
    def pick(values: tuple[Any, ...]) -> Any:
        return values[int(rng.integers(len(values)))]

    half_life: float | None = pick(HALF_LIVES)
    if rng.random() < 0.2:
        return Trial(Family.LINEAR, {"C": pick(STRENGTHS)}, half_life)
    return Trial(
        Family.TREES, {name: pick(values) for name, values in TREE_SETTINGS.items()}, half_life
    )


def tune(
    table: Frame,
    schema: ModelSchema,
    candidates: Iterator[Trial],
    *,
    embargo: timedelta,
    seed: int,
    time_is_up: Callable[[], bool],
) -> Choice:
    """Judge trials on later rows of the training table, and choose the best.

    Args:
        table: `modelling_table` of the training rows, in their order of time.
        schema: The champion's.
        candidates: The trials, in order; at least one.
        embargo: Gap between fitted and judged rows.
        seed: Of the estimators.
        time_is_up: Asked before each trial after the first.
    """
    times = table["event_time"].to_numpy(dtype="datetime64[us]")
    folds = [fold for fold in _folds(times, embargo) if _teachable(table.iloc[fold[0]], schema)]
    best: Choice | None = None
    count = 0
    for trial in candidates:
        if best is not None and (time_is_up() or not folds):
            break
        count += 1
        losses = [_validation_losses(table, schema, trial, fold=fold, seed=seed) for fold in folds]
        loss = float(np.concatenate(losses).mean()) if losses else None
        if best is None or (loss is not None and best.loss is not None and loss < best.loss):
            best = Choice(trial, loss, count)
    if best is None:
        raise ValueError("no trial was given; pass at least one")
    return Choice(best.trial, best.loss, count)


def _folds(
    times: "np.ndarray[tuple[int], np.dtype[np.datetime64]]", embargo: timedelta
) -> Iterator[tuple[slice, slice]]:
    """Row ranges to fit and to judge; folds with too few rows on a side are left out."""
    moments = times.astype(np.int64)
    first, span = int(moments[0]), int(moments[-1] - moments[0])
    for fitted, judged in FOLDS:
        boundary = first + int(span * fitted)
        stop = int(np.searchsorted(moments, boundary - embargo // _MICROSECOND, side="left"))
        start = int(np.searchsorted(moments, boundary, side="left"))
        end = int(np.searchsorted(moments, first + int(span * judged), side="right"))
        if stop >= LEAST_FOLD_ROWS and end - start >= LEAST_FOLD_ROWS:
            yield slice(0, stop), slice(start, end)


def _teachable(fitted: Frame, schema: ModelSchema) -> bool:
    """Whether a model can be fitted: a classifier needs rows of two classes."""
    return schema.task is Task.REGRESSION or fitted[schema.target].nunique() > 1


def _validation_losses(
    table: Frame, schema: ModelSchema, trial: Trial, *, fold: tuple[slice, slice], seed: int
) -> Floats:
    """Loss of each judged row of one fold."""
    fitted, judged = table.iloc[fold[0]], table.iloc[fold[1]]
    estimator = fit(fitted, schema, trial, seed=seed)
    features = _features(judged, schema)
    truth = judged[schema.target].to_numpy()
    if schema.task is Task.REGRESSION:
        return absolute_error(estimator.predict(features), truth.astype(np.float64))
    places = {name: place for place, name in enumerate(estimator.classes_.tolist())}
    index = np.array([places.get(name, -1) for name in truth.tolist()], dtype=np.int64)
    return class_log_loss(estimator.predict_proba(features), index)


def fit(table: Frame, schema: ModelSchema, trial: Trial, *, seed: int) -> Estimator:
    """Fit one trial's pipeline to a training table.

    Args:
        table: `modelling_table`, in its order of time.
        schema: The champion's; gives features, their kinds and the task.
        trial: What to fit.
        seed: Of the estimator.
    """
    target = table[schema.target]
    if schema.classes is not None and all(isinstance(name, int) for name in schema.classes):
        target = target.astype("int64")
    weights = None
    if trial.half_life_days is not None:
        age = (table["event_time"].iloc[-1] - table["event_time"]).dt.total_seconds() / 86_400.0
        weights = np.exp2(-age.to_numpy() / trial.half_life_days)
    steps = _pipeline.Pipeline(
        [("columns", _columns(schema, trial.family)), ("model", _model(schema, trial, seed))]
    )
    with _few_threads(len(table)):
        return steps.fit(_features(table, schema), target, model__sample_weight=weights)


def _few_threads(rows: int) -> Any:
    """A context in which OpenMP uses one thread, or all of them where it pays."""
    return _threads.threadpool_limits(1 if rows < PARALLEL_ROWS else None)


def _features(table: Frame, schema: ModelSchema) -> Frame:
    """The features as the estimator and the ONNX runtime see them: missing text is empty text."""
    features = table[[spec.name for spec in schema.inputs]].copy()
    for spec in schema.inputs:
        if spec.datatype is Datatype.BYTES:
            features[spec.name] = features[spec.name].fillna("")
    return features


def _columns(schema: ModelSchema, family: Family) -> Any:
    by_type = {
        kind: [spec.name for spec in schema.inputs if spec.datatype is kind] for kind in Datatype
    }
    text, flags = by_type[Datatype.BYTES], by_type[Datatype.BOOL]
    numbers = [*by_type[Datatype.FP64], *by_type[Datatype.INT64]]
    if family is Family.TREES:
        codes = _preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        scaled: Any = "passthrough"
    else:
        codes = _preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        scaled = _pipeline.make_pipeline(
            _impute.SimpleImputer(strategy="median"), _preprocessing.StandardScaler()
        )
    steps = [("codes", codes, text), ("flags", "passthrough", flags), ("numbers", scaled, numbers)]
    return _compose.ColumnTransformer([step for step in steps if step[2]])


def _model(schema: ModelSchema, trial: Trial, seed: int) -> Any:
    regression = schema.task is Task.REGRESSION
    if trial.family is Family.LINEAR:
        strength = float(trial.settings["C"])
        if regression:
            return _linear.Ridge(alpha=1.0 / strength)
        return _linear.LogisticRegression(C=strength, max_iter=1000, random_state=seed)
    make: Any = (
        _ensemble.HistGradientBoostingRegressor
        if regression
        else _ensemble.HistGradientBoostingClassifier
    )
    # Early stopping would split rows at random, across time.
    loss = {"loss": "absolute_error"} if regression else {}
    return make(random_state=seed, early_stopping=False, **loss, **trial.settings)
