import importlib
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.build import package
from mooring_model.load import load_package

_pandas: Any = importlib.import_module("pandas")
_linear: Any = importlib.import_module("sklearn.linear_model")


def test_segments_calibration_and_self_test_are_in_the_profile_when_declared(
    tmp_path: Path,
) -> None:
    generator = np.random.default_rng(8)
    rows = 12_000
    frame = _pandas.DataFrame(
        {
            "x": generator.normal(size=rows),
            "y": generator.normal(size=rows),
            "area": generator.integers(0, 3, rows).astype(np.float64),
            "at": _pandas.date_range("2024-01-01", periods=rows, freq="10min"),
        }
    )
    frame["late"] = (frame["x"] + generator.normal(size=rows) > 0).astype(int)
    estimator = _linear.LogisticRegression().fit(frame[["x", "y", "area"]], frame["late"])
    out = tmp_path / "package"
    package(
        estimator,
        frame,
        target="late",
        out=out,
        name="late",
        time_column="at",
        segments=["area"],
    )
    profile = load_package(out).profile
    assert [str(item.segment) for item in profile.segments] == sorted(
        [f"area={value}" for value in range(3)],
        key=lambda text: -int((frame["area"] == float(text[-1])).sum()),
    )
    assert profile.multivariate is not None
    assert profile.self_test is not None
    assert not profile.self_test.refused
    assert profile.score is not None
    assert 0.5 in profile.score.edges
    calibration = profile.calibration
    assert calibration is not None
    assert not calibration.held_out
    assert calibration.maps[0].rows.sum() == rows
