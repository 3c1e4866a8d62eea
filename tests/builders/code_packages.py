"""Small packages of code for tests: one feature `x`, a regression, and a source that is given."""

import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.build import package
from mooring_model.python.declaration import ChildLimits
from mooring_model.python.process import ModelProcess
from mooring_model.python.source import CodeModel

_pandas: Any = importlib.import_module("pandas")

DOUBLE = """
class Model:
    def __init__(self, directory):
        pass

    def predict(self, columns):
        return {"prediction": 2 * columns["x"]}
"""

MOODY = """
import os, signal, socket, time
import numpy as np


class Model:
    def __init__(self, directory):
        self.directory = directory

    def predict(self, columns):
        x = columns["x"]
        mood = int(x[0])
        if mood == -1:
            raise ValueError("x must not be -1")
        if mood == -2:
            os._exit(3)
        if mood == -3:
            os.kill(os.getpid(), signal.SIGSEGV)
        if mood == -4:
            while True:
                pass
        if mood == -5:
            return [1.0]
        if mood == -6:
            return {"prediction": x[:0]}
        if mood == -7:
            return {"prediction": bytearray(4 << 30)}
        if mood == -8:
            return {"prediction": np.zeros(len(x) + 2)}
        if mood == -9:
            return {"prediction": np.full(len(x), np.nan)}
        if mood == -10:
            for number in range(3, 64):
                try:
                    os.write(number, b"\\xff" * 64)
                except OSError:
                    pass
        if mood == -11:
            time.sleep(600)
        return {"prediction": 2 * x}
"""
"""Misbehaves as the first row says."""


def code_package(
    folder: Path, source: str = DOUBLE, limits: ChildLimits | None = None, **files: bytes
) -> Path:
    """A package of the module `model` with the class `Model`; `files` are those of data/."""
    directory = folder / "source"
    (directory / "code").mkdir(parents=True)
    (directory / "code" / "model.py").write_text(source)
    for name, data in files.items():
        (directory / "data").mkdir(exist_ok=True)
        (directory / "data" / name.replace("__", ".")).write_bytes(data)
    x = np.linspace(0, 10, 200)
    code = CodeModel(directory, "model:Model", limits=limits or ChildLimits())
    package(
        None,
        _pandas.DataFrame({"x": x, "y": 2 * x}),
        target="y",
        out=folder / "package",
        name="double",
        code=code,
        created_at=datetime(2026, 11, 24, 12, tzinfo=UTC),
    )
    return folder / "package"


def ask(process: ModelProcess, first: float, rows: int = 2) -> list[float]:
    """What a model of `x` answers to so many equal rows."""
    x = np.full(rows, first, np.float64)
    return process.call({"x": x})["prediction"].tolist()
