"""What is no package is refused when it is built, with a remedy, and leaves nothing behind."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_model.build import package
from mooring_model.errors import PackageRefused, RefusalReason
from tests.serving.packaged_models import (
    CREATED,
    build,
    cancer,
    diabetes,
    flights,
)

_ensemble: Any = importlib.import_module("sklearn.ensemble")
_linear: Any = importlib.import_module("sklearn.linear_model")
_svm: Any = importlib.import_module("sklearn.svm")


def test_failed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(PackageRefused):
        build("mixed", tmp_path / "p", test=flights().table.assign(outcome="never seen"))
    assert list(tmp_path.iterdir()) == []


def test_package_in_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PackageRefused, match="not an empty directory") as refused:
        build("binary", tmp_path)
    assert refused.value.reason is RefusalReason.EXTRA_FILE
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def _misfits() -> dict[str, tuple[Any, Any, str, str]]:
    """Model, table, target, and what the refusal says."""
    fitted = cancer()
    nested = flights()
    return {
        "not fitted": (_linear.LogisticRegression(), fitted.table, "target", "is not fitted"),
        "no estimator": (object(), fitted.table, "target", "no estimator"),
        "no probabilities": (
            _svm.LinearSVC().fit(fitted.features.to_numpy() / 1000, fitted.table["target"]),
            fitted.table,
            "target",
            "without probabilities",
        ),
        "no such target": (fitted.model, fitted.table, "label", "no column label"),
        "a feature is missing": (
            fitted.model,
            fitted.table.drop(columns="mean area"),
            "target",
            "no column mean area",
        ),
        "labels are missing": (
            fitted.model,
            fitted.table.assign(target=np.nan),
            "target",
            "without a label",
        ),
        "a date is a feature": (
            nested.model,
            nested.table.assign(delay=nested.table["time"]),
            "outcome",
            "which no tensor holds",
        ),
        "no rows": (fitted.model, fitted.table.head(0), "target", "no rows"),
        "not a table": (fitted.model, [1, 2], "target", "give a pandas DataFrame"),
        "no such model file": ("absent.onnx", fitted.table, "target", "no such file"),
        "another number of features": (
            _linear.LogisticRegression().fit(np.eye(4), [0, 1, 0, 1]),
            fitted.table,
            "target",
            "was fitted to 4 features",
        ),
    }


@pytest.mark.parametrize("case", list(_misfits()))
def test_misfit_of_model_and_table_is_refused_with_a_remedy(tmp_path: Path, case: str) -> None:
    model, table, target, message = _misfits()[case]
    with pytest.raises(PackageRefused, match=message) as refused:
        package(model, table, target=target, out=tmp_path / "p", name="m", created_at=CREATED)
    assert refused.value.remedy
    assert not (tmp_path / "p").exists()


def test_conversion_that_answers_differently_is_refused(tmp_path: Path) -> None:
    fitted = diabetes()
    model = _ensemble.RandomForestRegressor(5, random_state=0)
    scaled = fitted.table.copy()
    scaled.iloc[:, :-1] = 1e9 + scaled.iloc[:, :-1]  # differences below single precision
    model.fit(scaled.drop(columns="target"), scaled["target"])
    build_it: dict[str, Any] = {"target": "target", "name": "m", "created_at": CREATED}
    package(model, scaled, out=tmp_path / "skops", format="skops", **build_it)
    linear = _linear.LinearRegression().fit(scaled.drop(columns="target"), scaled["target"])
    with pytest.raises(PackageRefused, match="differs from the estimator") as refused:
        package(linear, scaled, out=tmp_path / "onnx", format="onnx", **build_it)
    assert refused.value.reason is RefusalReason.REPLAY_MISMATCH
    assert "skops" in refused.value.remedy
