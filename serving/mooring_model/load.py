"""Opens a package for prediction: checked files in, a model that answers out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mooring_model.content import check_format
from mooring_model.documents import document_invalid, read_document
from mooring_model.manifest import (
    Format,
    Manifest,
    check_code_allowed,
    read_manifest,
    verify_files,
)
from mooring_model.prediction import Answerer, Columns, Prediction, Runtime
from mooring_model.schema import Inference, ModelSchema, read_inference, read_schema
from mooring_profile.document import ReferenceProfile
from mooring_profile.errors import DocumentInvalid

if TYPE_CHECKING:
    from mooring_model.python.process import ModelProcess

PROFILE = "profile.json"


@dataclass(frozen=True)
class LoadedModel:
    """A package in memory."""

    manifest: Manifest
    schema: ModelSchema
    profile: ReferenceProfile
    inference: Inference
    runtime: Runtime
    answerer: Answerer
    process: "ModelProcess | None" = None
    """Of a package of code: where it runs; its calls wait for another process."""

    def close(self) -> None:
        """Ends the model's process, if it has one."""
        if self.process is not None:
            self.process.close()

    def predict(self, columns: Columns) -> Prediction:
        """Answers for n rows.

        Args:
            columns: for every input of the schema, values of shape [n]: float64 (NaN is missing),
                bool, or object arrays of str (None is missing).

        Raises:
            PredictionFailed: the model fails on these rows.
        """
        return self.answerer.predict(columns)


def load_package(directory: Path, *, threads: int = 1, allow_code: bool = False) -> LoadedModel:
    """Checks every file of the package and loads its model.

    Args:
        directory: the package.
        threads: of the runtime, for one prediction.
        allow_code: whether a package of format python may be loaded.

    Raises:
        PackageRefused: naming the file and what is wrong with it.
    """
    manifest = verify_files(directory)
    check_code_allowed(manifest, where=str(directory), allowed=allow_code)
    check_format(directory, manifest)
    schema, inference = read_schema(directory), read_inference(directory)
    profile = read_profile(directory)
    runtime = load_runtime(directory / manifest.format.file, manifest.format, schema, threads)
    return LoadedModel(
        manifest=manifest,
        schema=schema,
        profile=profile,
        inference=inference,
        runtime=runtime,
        answerer=Answerer.of(runtime, schema, inference),
        process=getattr(runtime, "process", None),
    )


def load_runtime(path: Path, format_: Format, schema: ModelSchema, threads: int) -> Runtime:
    """The model in one file; the format's library is imported only here, when it is needed."""
    match format_:
        case Format.ONNX:
            from mooring_model.runtimes.onnx import OnnxRuntime

            return OnnxRuntime(path, schema, threads=threads)
        case Format.SKOPS:
            from mooring_model.runtimes.skops import SkopsRuntime

            return SkopsRuntime(path, schema)
        case Format.PYTHON:
            from mooring_model.runtimes.python import PythonRuntime

            return PythonRuntime(path, schema)
        case Format.RULES:
            from mooring_model.runtimes.rules import RulesRuntime

            return RulesRuntime.open(path, schema)
        case Format.COMPOSITE:
            from mooring_model.runtimes.composite import CompositeRuntime

            def open_node(directory: Path, node: ModelSchema) -> Runtime:
                kind = read_manifest(directory).format
                return load_runtime(directory / kind.file, kind, node, threads)

            return CompositeRuntime.open(path, schema, open_node)


def read_profile(directory: Path) -> ReferenceProfile:
    """The package's reference profile.

    Raises:
        PackageRefused: SchemaInvalid, naming the field.
    """
    path = directory / PROFILE
    document = read_document(path)
    try:
        return ReferenceProfile.from_json(document)
    except (DocumentInvalid, OverflowError) as error:  # of a whole number that no float holds
        raise document_invalid(path, str(error)) from error
