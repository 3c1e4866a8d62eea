"""Fitted scikit-learn models with their tables, for the tests of packaging and storage."""

import functools
import importlib
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mooring_model.build import package
from mooring_model.manifest import Manifest

_pandas: Any = importlib.import_module("pandas")
_datasets: Any = importlib.import_module("sklearn.datasets")
_compose: Any = importlib.import_module("sklearn.compose")
_ensemble: Any = importlib.import_module("sklearn.ensemble")
_impute: Any = importlib.import_module("sklearn.impute")
_linear: Any = importlib.import_module("sklearn.linear_model")
_pipeline: Any = importlib.import_module("sklearn.pipeline")
_preprocessing: Any = importlib.import_module("sklearn.preprocessing")

CREATED = datetime(2026, 11, 24, 12, tzinfo=UTC)
Frame = Any
Estimator = Any


@dataclass(frozen=True)
class Fitted:
    """A fitted model and what it was fitted to."""

    model: Estimator
    table: Frame
    target: str

    @property
    def features(self) -> Frame:
        """The table without its target."""
        return self.table.drop(columns=self.target)


@functools.cache
def cancer() -> Fitted:
    """Binary, 569 rows, 30 numeric features whose names hold spaces."""
    table = _datasets.load_breast_cancer(as_frame=True).frame
    model = _pipeline.make_pipeline(
        _preprocessing.StandardScaler(), _linear.LogisticRegression(max_iter=1000)
    )
    return _fit(model, table, "target")


@functools.cache
def diabetes() -> Fitted:
    """Regression, 442 rows, 10 numeric features."""
    table = _datasets.load_diabetes(as_frame=True).frame
    return _fit(
        _ensemble.GradientBoostingRegressor(n_estimators=20, random_state=0), table, "target"
    )


@functools.cache
def wine() -> Fitted:
    """Three classes with text labels, 178 rows, 13 numeric features."""
    table = _datasets.load_wine(as_frame=True).frame
    table["target"] = table["target"].map({0: "barolo", 1: "grignolino", 2: "barbera"})
    return _fit(_ensemble.RandomForestClassifier(20, random_state=0), table, "target")


@functools.cache
def flights() -> Fitted:
    """Binary with text labels: two categories, two numbers with gaps, a flag, and a time."""
    generator = np.random.default_rng(7)
    rows = 1200
    carrier = generator.choice(["AA", "B6", "DL", "Ünited"], rows)
    distance = generator.gamma(2.0, 400.0, rows)
    delay = generator.normal(10, 30, rows)
    late = delay + (carrier == "B6") * 20 + generator.normal(0, 10, rows) > 15
    distance[generator.random(rows) < 0.1] = np.nan
    table = _pandas.DataFrame(
        {
            "time": _pandas.date_range("2026-01-01", periods=rows, freq="h", tz="UTC"),
            "carrier": carrier,
            "origin": generator.choice(["EWR", "JFK", "LGA"], rows),
            "distance": distance,
            "delay": delay,
            "weekend": generator.random(rows) < 0.3,
            "outcome": np.where(late, "late", "on time"),
        }
    )
    one_hot = _preprocessing.OneHotEncoder(handle_unknown="ignore")
    numbers = _pipeline.make_pipeline(_impute.SimpleImputer(), _preprocessing.StandardScaler())
    columns = _compose.ColumnTransformer(
        [
            ("categories", one_hot, ["carrier", "origin"]),
            ("numbers", numbers, ["distance", "delay"]),
            ("flag", _preprocessing.OneHotEncoder(), ["weekend"]),
        ]
    )
    model = _pipeline.make_pipeline(columns, _linear.LogisticRegression(max_iter=1000))
    model.fit(table.drop(columns=["time", "outcome"]), table["outcome"])
    return Fitted(model, table, "outcome")


MODELS = {"binary": cancer, "multiclass": wine, "regression": diabetes, "mixed": flights}


def build(
    name: str, out: Path, *, stored: Literal["onnx", "skops"] = "onnx", **options: Any
) -> Manifest:
    """Packages one of `MODELS`; time is fixed."""
    fitted = MODELS[name]()
    if "time" in fitted.table:
        options.setdefault("time_column", "time")
    options.setdefault("created_at", CREATED)
    return package(
        fitted.model,
        fitted.table,
        target=fitted.target,
        out=out,
        name=name,
        format=stored,
        **options,
    )


@functools.cache
def packaged(name: str, stored: Literal["onnx", "skops"] = "onnx") -> Path:
    """A package that no test may change."""
    return _keep(name, stored)


def _keep(name: str, stored: Literal["onnx", "skops"]) -> Path:
    folder = tempfile.TemporaryDirectory(prefix="mooring-packaged-")
    _FOLDERS.append(folder)
    out = Path(folder.name) / name
    build(name, out, stored=stored)
    return out


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def _fit(model: Estimator, table: Frame, target: str) -> Fitted:
    model.fit(table.drop(columns=target), table[target])
    return Fitted(model, table, target)
