"""One-feature regressions: good ones, and candidates that crash, hang, answer garbage or late.

All of them answer their samples and warm-up as they should, so that verification lets them in. The
bad ones misbehave at what clients send: `x` above 1,000.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mooring_model.build import package
from mooring_model.python.declaration import ChildLimits
from mooring_model.python.source import CodeModel

_linear: Any = importlib.import_module("sklearn.linear_model")
_pandas: Any = importlib.import_module("pandas")

SENT = 6000.0
"""What clients send."""
MOODS: Mapping[str, str] = MappingProxyType(
    {
        "crash": "os._exit(3)",
        "hang": "time.sleep(600)",
        "garbage": "return {'prediction': np.full(len(x), np.nan)}",
        "late": "time.sleep(3)",
    }
)
_SOURCE = """
import os, time
import numpy as np


class Model:
    def __init__(self, directory):
        pass

    def predict(self, columns):
        x = columns["x"]
        if x[0] > 1000:
            MISBEHAVE
        return {"prediction": 2 * x}
"""
_LIMITS = ChildLimits(call_seconds=5)


def good_package(folder: Path, *, name: str, slope: float) -> Path:
    """A line through the origin, as a scikit-learn model."""
    table = _table(slope)
    model = _linear.LinearRegression().fit(table[["x"]], table["y"])
    package(model, table, target="y", out=folder / "package", name=name)
    return folder / "package"


def bad_package(folder: Path, *, name: str, mood: str) -> Path:
    """Code that does what `MOODS` says."""
    code = folder / "source" / "code"
    code.mkdir(parents=True)
    (code / "model.py").write_text(_SOURCE.replace("MISBEHAVE", MOODS[mood]))
    model = CodeModel(folder / "source", "model:Model", limits=_LIMITS)
    package(None, _table(2.0), target="y", out=folder / "package", name=name, code=model)
    return folder / "package"


def request() -> dict[str, Any]:
    """What a client sends."""
    tensor = {"name": "x", "shape": [1], "datatype": "FP64", "data": [SENT]}
    return {"inputs": [tensor]}


def _table(slope: float) -> Any:
    x = np.linspace(0, 10, 200)
    return _pandas.DataFrame({"x": x, "y": slope * x})
