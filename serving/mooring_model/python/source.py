"""A directory of code that is to be packaged: copied, declared, checked, and started once."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.infer_schema import Classes, Frame, target_classes
from mooring_model.manifest import Format, first_fault, list_files
from mooring_model.prediction import Runtime
from mooring_model.python.check import check_python
from mooring_model.python.declaration import (
    CODE,
    DATA,
    DECLARATION,
    LOCK,
    WHEELS,
    ChildLimits,
    Declaration,
)
from mooring_model.runtimes.python import PythonRuntime
from mooring_model.schema import ModelSchema, OutputSpec

USUAL_LIMITS = ChildLimits()


@dataclass(frozen=True)
class CodeModel:
    """A model that is code.

    Attributes:
        directory: holds `code/`, and where needed `data/`, `wheels/` and `requirements.lock`.
        entrypoint: `module:Class` in `code/`.
        regression: whether it predicts a number; None: it does when the target column is of
            floating-point numbers.
        limits: of its process.
    """

    directory: Path
    entrypoint: str
    regression: bool | None = None
    limits: ChildLimits = USUAL_LIMITS


class CodeSource:
    """What `package` needs of a model, for code.

    Raises:
        PackageRefused: PackageNotFound or SchemaInvalid; there is no code, or no entry point.
    """

    estimator = None
    extras: Sequence[OutputSpec] = ()

    def features(self, known: Sequence[str]) -> None:
        """The table says them."""

    def __init__(self, model: CodeModel) -> None:
        self._model = model
        self._runtime: PythonRuntime | None = None
        if not (model.directory / CODE).is_dir():
            raise PackageRefused(
                RefusalReason.PACKAGE_NOT_FOUND,
                f"{model.directory}: there is no {CODE}/ with the model's modules",
                f"put them in {CODE}/, data files in {DATA}/, wheels in {WHEELS}/ with a {LOCK}",
            )
        try:
            self._declaration = Declaration(entrypoint=model.entrypoint, limits=model.limits)
        except ValidationError as error:
            raise PackageRefused(
                RefusalReason.SCHEMA_INVALID,
                f"entry point {model.entrypoint[:100]!r}: {first_fault(error)}",
                "write --entrypoint module:Class",
            ) from error

    def classes(self, target: Any) -> Classes | None:
        """The labels of the training table, sorted; None for a regression.

        Args:
            target: the label column.
        """
        regression = self._model.regression
        if regression is None:
            regression = target.dtype.kind == "f"
        if regression:
            return None
        return target_classes(target, "say --task regression if it is a number")

    def write(self, folder: Path, schema: ModelSchema, wanted: Format) -> tuple[Format, Runtime]:  # noqa: ARG002 - code has one format
        """Copies the code and its files, and starts the model once.

        Raises:
            PackageRefused: a file is not allowed, the lock does not fit, or the model fails.
        """
        for name in (CODE, DATA, WHEELS):
            if (self._model.directory / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(
                    self._model.directory / name, folder / name, symlinks=True, ignore=ignored
                )
        lock = self._model.directory / LOCK
        text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
        (folder / LOCK).write_text(text, encoding="utf-8")
        declared = json.dumps(self._declaration.model_dump(mode="json", by_alias=True), indent=1)
        (folder / DECLARATION).write_text(declared + "\n", encoding="utf-8")
        check_python(folder, list_files(folder, Format.PYTHON))
        self._runtime = PythonRuntime(folder / DECLARATION, schema)
        return Format.PYTHON, self._runtime

    def agreement(self, runtime: Runtime, schema: ModelSchema, frame: Frame) -> None:
        """There is no estimator to compare with: the package is the model."""

    def close(self) -> None:
        """Ends the model's process."""
        if self._runtime is not None:
            self._runtime.process.close()
