"""Opens a package for prediction: checked files in, a model that answers out."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import Format, Manifest, verify_files
from mooring_model.prediction import Columns, Prediction, Runtime, answer
from mooring_model.schema import Inference, ModelSchema, read_inference, read_schema
from mooring_profile.document import ReferenceProfile
from mooring_profile.errors import DocumentInvalid

PROFILE = "profile.json"
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ZIP_START = b"PK\x03\x04"


@dataclass(frozen=True)
class LoadedModel:
    """A package in memory."""

    manifest: Manifest
    schema: ModelSchema
    profile: ReferenceProfile
    inference: Inference
    runtime: Runtime

    def predict(self, columns: Columns) -> Prediction:
        """Answers for n rows.

        Args:
            columns: for every input of the schema, values of shape [n]: float64 (NaN is missing),
                bool, or object arrays of str (None is missing).
        """
        return answer(self.runtime, self.schema, self.inference, columns)


def load_package(directory: Path, *, threads: int = 1) -> LoadedModel:
    """Checks every file of the package and loads its model.

    Args:
        directory: the package.
        threads: of the runtime, for one prediction.

    Raises:
        PackageRefused: naming the file and what is wrong with it.
    """
    manifest = verify_files(directory)
    check_format(directory, manifest)
    schema = read_schema(directory)
    return LoadedModel(
        manifest=manifest,
        schema=schema,
        profile=_read_profile(directory),
        inference=read_inference(directory),
        runtime=load_runtime(directory / manifest.format.file, manifest.format, schema, threads),
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


def check_format(directory: Path, manifest: Manifest) -> None:
    """The format by content must be the declared one; nothing is loaded for this.

    Raises:
        PackageRefused: PickleRefused or FormatMismatch.
    """
    path = directory / manifest.format.file
    found = format_of(path)
    if found is not manifest.format:
        raise PackageRefused(
            RefusalReason.FORMAT_MISMATCH,
            f"{directory}: {path.name} is declared {manifest.format} but its content is"
            f" {found or 'neither ONNX nor skops'}",
            "package the model again with `mooring package`",
        )


def format_of(path: Path) -> Format | None:
    """The format that the bytes of a file show; None when neither.

    Raises:
        PackageRefused: PickleRefused; the file, or an archive's member, is a pickle.
    """
    with path.open("rb") as stream:
        start = stream.read(16)
    if start.startswith(_PICKLE_STARTS) or start[:1] in (b"(", b"]", b"}", b"c"):
        raise _pickle(path, path.name)
    if start.startswith(_ZIP_START):
        return _format_of_archive(path)
    # A protobuf ModelProto begins with field 1, ir_version, a varint.
    return Format.ONNX if start[:1] == b"\x08" else None


def _format_of_archive(path: Path) -> Format | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in names:
                with archive.open(name) as member:
                    if member.read(2) in _PICKLE_STARTS:
                        raise _pickle(path, f"{path.name}:{name}")
    except zipfile.BadZipFile:
        return None
    return Format.SKOPS if "schema.json" in names else None


def _pickle(path: Path, what: str) -> PackageRefused:
    return PackageRefused(
        RefusalReason.PICKLE_REFUSED,
        f"{path.parent}: {what} is a pickle, which runs code when it is loaded",
        "save the model as ONNX or with skops",
    )


def _read_profile(directory: Path) -> ReferenceProfile:
    try:
        return ReferenceProfile.from_json(json.loads((directory / PROFILE).read_text()))
    except (OSError, ValueError, DocumentInvalid) as error:
        raise PackageRefused(
            RefusalReason.SCHEMA_INVALID,
            f"{directory}: {PROFILE}: {error}",
            "package the model again with `mooring package`",
        ) from error
