"""Real model packages for the server's tests, each built once a session from a fitted model."""

import atexit
import functools
import importlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.build import package

_pandas: Any = importlib.import_module("pandas")
_datasets: Any = importlib.import_module("sklearn.datasets")


@functools.cache
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="mooring-packages-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


def _underscored(name: str) -> str:
    return name.replace(" ", "_").replace("/", "_")


@functools.cache
def cancer_table() -> Any:
    """569 rows, 30 numeric features, a binary target."""
    data = _datasets.load_breast_cancer(as_frame=True)
    table = data.data.rename(columns=_underscored)
    table["benign"] = data.target
    return table


def cancer_rows(stop: int, start: int = 0) -> Any:
    """Some of its rows without the target, float64 [stop - start, 30]."""
    return cancer_table().drop(columns="benign").to_numpy()[start:stop]


@functools.cache
def cancer_package(kind: str = "linear") -> Path:
    """Binary, ONNX, all numeric: `linear` (fast), `forest` (200 trees) or `shifted` (another
    linear model whose answers differ).
    """
    table = cancer_table()
    linear: Any = importlib.import_module("sklearn.linear_model")
    ensemble: Any = importlib.import_module("sklearn.ensemble")
    pipeline: Any = importlib.import_module("sklearn.pipeline")
    preprocessing: Any = importlib.import_module("sklearn.preprocessing")
    if kind == "forest":
        model = pipeline.make_pipeline(
            preprocessing.StandardScaler(), ensemble.RandomForestClassifier(200, random_state=1)
        )
    else:
        strength = 1.0 if kind == "linear" else 0.001
        model = pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear.LogisticRegression(C=strength, max_iter=1000)
        )
    model.fit(table.drop(columns="benign"), table["benign"])
    out = _root() / f"cancer-{kind}"
    package(model, table, target="benign", out=out, name="cancer")
    return out


@functools.cache
def mixed_table() -> Any:
    """400 rows: a category, a text code, a number with gaps, a flag, and a text target."""
    generator = np.random.default_rng(3)
    rows = 400
    distance = generator.gamma(2.0, 400.0, rows)
    carrier = generator.choice(["AA", "B6", "DL", "UA"], rows)
    late = distance / 2000 + (carrier == "UA") * 0.4 + generator.normal(0, 0.3, rows) > 0.7
    distance[generator.random(rows) < 0.1] = np.nan
    return _pandas.DataFrame(
        {
            "carrier": carrier,
            "distance": distance,
            "hour": generator.integers(0, 24, rows),
            "weekend": generator.random(rows) < 0.3,
            "outcome": np.where(late, "late", "on time"),
        }
    )


@functools.cache
def mixed_package() -> Path:
    """Binary with text classes, skops: categories, missing numbers, integers and flags."""
    table = mixed_table()
    compose: Any = importlib.import_module("sklearn.compose")
    impute: Any = importlib.import_module("sklearn.impute")
    linear: Any = importlib.import_module("sklearn.linear_model")
    pipeline: Any = importlib.import_module("sklearn.pipeline")
    preprocessing: Any = importlib.import_module("sklearn.preprocessing")
    columns = compose.ColumnTransformer(
        [
            ("carrier", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
            (
                "number",
                pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler()),
                ["distance", "hour"],
            ),
            ("flag", "passthrough", ["weekend"]),
        ]
    )
    model = pipeline.make_pipeline(columns, linear.LogisticRegression(max_iter=1000))
    model.fit(table.drop(columns="outcome"), table["outcome"])
    out = _root() / "mixed"
    package(model, table, target="outcome", out=out, name="flights", format="skops")
    return out


@functools.cache
def segmented_package() -> Path:
    """Binary, skops, with the segments `carrier=AA` and `carrier=UA`: the model is often wrong
    about UA.
    """
    generator = np.random.default_rng(5)
    rows = 4000
    carrier = generator.choice(["AA", "UA"], rows)
    distance = generator.normal(0, 1, rows)
    noise = np.where(carrier == "UA", 1.5, 0.1) * generator.normal(0, 1, rows)
    table = _pandas.DataFrame(
        {"carrier": carrier, "distance": distance, "late": (distance + noise > 0).astype(int)}
    )
    compose: Any = importlib.import_module("sklearn.compose")
    linear: Any = importlib.import_module("sklearn.linear_model")
    pipeline: Any = importlib.import_module("sklearn.pipeline")
    preprocessing: Any = importlib.import_module("sklearn.preprocessing")
    columns = compose.ColumnTransformer(
        [
            ("carrier", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
            ("distance", "passthrough", ["distance"]),
        ]
    )
    model = pipeline.make_pipeline(columns, linear.LogisticRegression(max_iter=1000))
    model.fit(table.drop(columns="late"), table["late"])
    out = _root() / "segmented"
    package(
        model, table, target="late", out=out, name="late", format="skops", segments=("carrier",)
    )
    return out


@functools.cache
def regression_package() -> Path:
    """Regression, ONNX, ten numeric features."""
    data = _datasets.load_diabetes(as_frame=True)
    linear: Any = importlib.import_module("sklearn.linear_model")
    pipeline: Any = importlib.import_module("sklearn.pipeline")
    preprocessing: Any = importlib.import_module("sklearn.preprocessing")
    table = data.data.copy()
    table["progress"] = data.target.astype(float) + 0.5
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear.Ridge())
    model.fit(table.drop(columns="progress"), table["progress"])
    out = _root() / "regression"
    package(model, table, target="progress", out=out, name="diabetes")
    return out


@functools.cache
def wine_table(rows: int = 0) -> Any:
    """178 wines, 13 numeric features, `cultivar` of three; or so many drawn from them, blurred."""
    data = _datasets.load_wine(as_frame=True)
    table = data.data.rename(columns=_underscored)
    table["cultivar"] = data.target
    if not rows:
        return table
    rng = np.random.default_rng(3)
    drawn = table.sample(rows, replace=True, random_state=3).reset_index(drop=True)
    features = drawn.columns[:-1]
    drawn[features] += rng.normal(size=(rows, 13)) * 0.2 * table[features].std().to_numpy()
    return drawn


@functools.cache
def multiclass_package(rows: int = 0) -> Path:
    """Three classes, ONNX, thirteen numeric features; `rows` as in `wine_table`."""
    linear: Any = importlib.import_module("sklearn.linear_model")
    pipeline: Any = importlib.import_module("sklearn.pipeline")
    preprocessing: Any = importlib.import_module("sklearn.preprocessing")
    table = wine_table(rows)
    model = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear.LogisticRegression(max_iter=1000)
    )
    model.fit(table.drop(columns="cultivar"), table["cultivar"])
    out = _root() / f"multiclass-{rows}"
    package(model, table, target="cultivar", out=out, name="wine")
    return out
