"""The model that is to be packaged: an estimator in memory, a .skops file or an .onnx file."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mooring_model.agreement import Agreement, check_fitted, measure_agreement
from mooring_model.content import format_of
from mooring_model.convert import write_onnx
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.infer_schema import MAX_CLASSES, Classes, Frame, alike, class_of, labels_of
from mooring_model.load import load_runtime
from mooring_model.manifest import Format
from mooring_model.prediction import PredictionFailed, Runtime
from mooring_model.schema import ModelSchema, OutputSpec
from mooring_model.skops_file import canonical_skops, write_skops


class Source(Protocol):
    """What `package` needs of a model, of whatever kind."""

    @property
    def estimator(self) -> object:
        """The scikit-learn estimator, where there is one: it knows its features' names."""
        ...

    @property
    def extras(self) -> Sequence[OutputSpec]:
        """Outputs beyond the answer."""
        ...

    def features(self, known: Sequence[str]) -> Sequence[str] | None:
        """The columns of the training table that the model names; None where it names none.

        Args:
            known: the columns that there are.

        Raises:
            PackageRefused: SchemaInvalid; it names one that there is not.
        """
        ...

    def classes(self, target: Any) -> "Classes | None":
        """Classes of a classifier, None for a regression.

        Args:
            target: the label column of the training table.
        """
        ...

    def write(self, folder: Path, schema: ModelSchema, wanted: Format) -> tuple[Format, Runtime]:
        """Writes the model's files and loads them.

        Raises:
            PackageRefused: they do not fit the schema.
        """
        ...

    def agreement(self, runtime: Runtime, schema: ModelSchema, frame: Frame) -> Agreement | None:
        """How far the packaged model is from the estimator; None where it is the model itself."""
        ...

    def close(self) -> None:
        """Ends what was started for the packaging."""
        ...


@dataclass(frozen=True)
class ModelSource:
    """What `package` was given.

    Attributes:
        estimator: the scikit-learn estimator; None for an ONNX file.
        path: the file that it came from; None for an estimator in memory.
    """

    estimator: Any
    path: Path | None
    extras: Sequence[OutputSpec] = ()

    def features(self, known: Sequence[str]) -> None:
        """The estimator names them, or the table does."""

    @classmethod
    def open(cls, model: object) -> "ModelSource":
        """Looks at what was given.

        Raises:
            PackageRefused: no such file, a pickle, of no known format, or not fitted.
        """
        if not isinstance(model, (str, Path)):
            check_fitted(model)
            return cls(model, None)
        path = Path(model)
        if not path.is_file():
            raise PackageRefused(
                RefusalReason.PACKAGE_NOT_FOUND, f"{path}: no such file", "give --model a file"
            )
        match format_of(path):
            case Format.ONNX:
                return cls(None, path)
            case Format.SKOPS:
                skops: Any = importlib.import_module("mooring_model.runtimes.skops")
                estimator = skops.load_estimator(path)
                check_fitted(estimator)
                return cls(estimator, path)
            case _:
                raise PackageRefused(
                    RefusalReason.FORMAT_MISMATCH,
                    f"{path}: neither ONNX nor skops by its content",
                    "save the model with skops.io.dump, or export it to ONNX",
                )

    def classes(self, target: Any) -> Classes | None:
        """Classes of a classifier, None for a regressor; an ONNX graph or its table says them.

        Args:
            target: the label column of the training table.
        """
        if self.estimator is None:
            return self._graph_classes(target)
        found: Any = getattr(self.estimator, "classes_", None)
        if found is None:
            return None
        if isinstance(found, list) or len(found) > MAX_CLASSES:
            raise PackageRefused(
                RefusalReason.SCHEMA_INVALID,
                f"{type(self.estimator).__name__} predicts several targets, or more than "
                f"{MAX_CLASSES} classes",
                "package one model per target",
            )
        return Classes(alike([class_of(value) for value in found]))

    def _graph_classes(self, target: Any) -> Classes | None:
        onnx: Any = importlib.import_module("mooring_model.runtimes.onnx")
        found: tuple[str | int, ...] | None = onnx.graph_classes(self.path, labels_of(target))
        return None if found is None else Classes(found)

    def write(self, folder: Path, schema: ModelSchema, wanted: Format) -> tuple[Format, Runtime]:
        """Writes the model's file and loads it again.

        Raises:
            PackageRefused: it does not convert, or does not fit the schema.
        """
        chosen = Format.ONNX if self.estimator is None else wanted
        file = folder / chosen.file
        if self.path is not None and self.estimator is None:
            file.write_bytes(self.path.read_bytes())
        elif chosen is Format.ONNX:
            write_onnx(self.estimator, schema, file)
        elif self.path is not None:
            file.write_bytes(canonical_skops(self.path.read_bytes()))
        else:
            write_skops(self.estimator, file)
        return chosen, load_runtime(file, chosen, schema, threads=1)

    def agreement(self, runtime: Runtime, schema: ModelSchema, frame: Frame) -> Agreement | None:
        """How far the packaged model is from the estimator; None for an ONNX file, which is both.

        Raises:
            PackageRefused: they differ, or one does not answer its own training table.
        """
        if self.estimator is None:
            return None
        try:
            return measure_agreement(self.estimator, runtime, schema, frame)
        except PredictionFailed as error:
            raise PackageRefused(
                RefusalReason.LOAD_FAILED,
                f"the packaged model does not answer its training table: {error}",
                "check the columns' types, or package it with format skops",
            ) from error

    def close(self) -> None:
        """Nothing is open."""
