"""Builds a package from a fitted model and its training table: a notebook's last cell.

Deterministic: the same model, table and `created_at` give the same digest.
"""

import hashlib
import importlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mooring_model.card import default_card
from mooring_model.content import format_of
from mooring_model.convert import write_onnx
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.evaluate import Metric, evaluate
from mooring_model.infer_schema import (
    Classes,
    Frame,
    class_of,
    feature_names,
    infer_schema,
    to_columns,
)
from mooring_model.load import PROFILE, load_runtime
from mooring_model.manifest import Format, Manifest, canonical, write_manifest
from mooring_model.prediction import Prediction, Runtime, answer
from mooring_model.runtimes.skops import load_estimator
from mooring_model.samples import choose_samples, write_samples
from mooring_model.schema import INFERENCE, SCHEMA, Inference, InputKind, ModelSchema
from mooring_profile.build import build_profile
from mooring_profile.document import FeatureKind

_pandas: Any = importlib.import_module("pandas")
_LIBRARIES = ("numpy", "onnxruntime", "pandas", "scikit-learn", "skl2onnx", "skops")


@dataclass(frozen=True)
class Lineage:
    """parameters.json: how the model came about."""

    parameters: Mapping[str, object]
    parents: Sequence[str]
    seed: int | None
    produced_by: str


def package(  # noqa: PLR0913 - a notebook's one call; everything after `target` is by name
    model: object,
    data: object,
    *,
    target: str,
    out: Path | str,
    name: str,
    time_column: str | None = None,
    format: Literal["onnx", "skops"] = "onnx",  # noqa: A002 - the word that users know
    features: Sequence[str] | None = None,
    test: object | None = None,
    parameters: Mapping[str, object] | None = None,
    parents: Sequence[str] = (),
    seed: int | None = None,
    produced_by: str = "mooring package",
    card: str | None = None,
    threshold: float | None = None,
    created_at: datetime | None = None,
) -> Manifest:
    """Writes a package for a fitted model, and returns its manifest.

    Args:
        model: a fitted scikit-learn estimator, or the path of a .skops or .onnx file.
        data: the training table: a pandas DataFrame, or the path of a Parquet or CSV file. Rows
            in their order of time when `time_column` is given.
        target: the label column.
        out: the directory to write; it must be empty or absent.
        name: the model's name.
        time_column: column with the time of each row; days become the blocks from which design
            effects and seasonal tolerances are estimated.
        format: how an estimator is stored; an .onnx file stays ONNX.
        features: the feature columns; all but target and time when None.
        test: later rows, for metrics and the score's reference distribution.
        parameters: hyperparameters, for the record.
        parents: digests of the versions that this one comes from.
        seed: of the training, for the record.
        produced_by: who made it.
        card: the model card in Markdown; a plain one is written when None.
        threshold: positive from this probability on; None: 0.5.
        created_at: None: now.

    Raises:
        PackageRefused: the model does not fit the table; the message names column and remedy.
    """
    table, later = _table(data), None if test is None else _table(test)
    folder = _fresh(Path(out))
    names = feature_names(table, target=target, time_column=time_column, features=features)
    estimator, source = _open(model)
    classes = _classes(estimator, table[target])
    schema = infer_schema(table, target=target, names=names, classes=classes)
    chosen = _write_model(folder, estimator, source, schema, Format(format))
    runtime = load_runtime(folder / chosen.file, chosen, schema, threads=1)
    inference = Inference(threshold=threshold)
    writer = _Writer(folder, schema, runtime, inference)
    trained = writer.predict(table)
    tested = None if later is None else writer.predict(later)
    metrics = writer.metrics(table, trained, "train")
    if later is not None and tested is not None:
        metrics += writer.metrics(later, tested, "test")
    writer.profile(table, tested or trained, time_column)
    write_samples(folder, schema, choose_samples(table), runtime, inference)
    _write_json(folder / SCHEMA, schema.model_dump(mode="json", by_alias=True))
    _write_json(folder / INFERENCE, inference.model_dump(mode="json", by_alias=True))
    _write_json(folder / "metrics.json", [metric.to_json() for metric in metrics])
    roles = [("train", table), *([] if later is None else [("test", later)])]
    records = [_dataset(role, frame, time_column) for role, frame in roles]
    _write_json(folder / "datasets.json", records)
    lineage = Lineage(parameters or {}, parents, seed, produced_by)
    _write_json(folder / "parameters.json", _lineage(lineage))
    (folder / "environment.lock").write_text(_environment())
    (folder / "card.md").write_text(card or default_card(name, schema, metrics))
    return write_manifest(
        folder, model=name, format_=chosen, created_at=created_at or _now(folder / chosen.file)
    )


@dataclass(frozen=True)
class _Writer:
    """What the derived files share."""

    folder: Path
    schema: ModelSchema
    runtime: Runtime
    inference: Inference

    def predict(self, frame: Frame) -> Prediction:
        return answer(self.runtime, self.schema, self.inference, to_columns(self.schema, frame))

    def metrics(self, frame: Frame, prediction: Prediction, dataset: str) -> list[Metric]:
        truth = frame[self.schema.target].to_numpy()
        if self.schema.classes is not None:
            truth = np.array([class_of(value) for value in truth], dtype=object)
        return evaluate(self.schema, prediction, truth, dataset=dataset)

    def profile(self, frame: Frame, prediction: Prediction, time_column: str | None) -> None:
        """profile.json; the score's distribution is held-out where there are later rows."""
        columns = to_columns(self.schema, frame)
        kinds = {
            spec.name: FeatureKind.NUMERIC
            if spec.kind is InputKind.NUMERIC
            else FeatureKind.CATEGORICAL
            for spec in self.schema.inputs
        }
        score = (
            self.predict(frame).score if len(prediction.score) != len(frame) else prediction.score
        )
        blocks = None
        if time_column is not None:
            times = _pandas.to_datetime(frame[time_column], utc=True)
            blocks = times.dt.floor("D").factorize(sort=True)[0]
        profile = build_profile(columns, kinds, score=score, blocks=blocks)
        _write_json(self.folder / PROFILE, profile.to_json())


def _table(data: object) -> Frame:
    if not isinstance(data, (str, Path)):
        frame: Frame = data
        return frame
    path = Path(data)
    if path.suffix == ".parquet":
        return _pandas.read_parquet(path)
    if path.suffix in (".csv", ".gz"):
        return _pandas.read_csv(path)
    raise PackageRefused(
        RefusalReason.SCHEMA_INVALID,
        f"{path}: a table is a .parquet or .csv file",
        "convert it first",
    )


def _fresh(folder: Path) -> Path:
    if folder.exists() and any(folder.iterdir()):
        raise PackageRefused(
            RefusalReason.EXTRA_FILE,
            f"{folder} is not empty",
            "choose a new directory: a package is never changed",
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _open(model: object) -> tuple[Any, Path | None]:
    """The estimator (None for an ONNX file) and the file it came from."""
    if not isinstance(model, (str, Path)):
        return model, None
    path = Path(model)
    if not path.is_file():
        raise PackageRefused(
            RefusalReason.PACKAGE_NOT_FOUND, f"{path}: no such file", "give --model a model file"
        )
    match format_of(path):
        case Format.ONNX:
            return None, path
        case Format.SKOPS:
            return load_estimator(path), path
        case None:
            raise PackageRefused(
                RefusalReason.FORMAT_MISMATCH,
                f"{path}: neither ONNX nor skops by its content",
                "save the model with skops.io.dump, or export it to ONNX",
            )


def _classes(estimator: Any, target: Any) -> Classes | None:
    """Classes of a classifier; for an ONNX file the table's target decides."""
    if estimator is not None:
        found = getattr(estimator, "classes_", None)
        return None if found is None else Classes(tuple(class_of(value) for value in found))
    distinct = sorted({class_of(value) for value in target.dropna().unique()}, key=str)
    whole = all(isinstance(value, int) for value in distinct)
    numeric = target.dtype.kind in "fc" and not whole
    if numeric or (whole and len(distinct) > MAX_ONNX_CLASSES):
        return None
    return Classes(tuple(sorted(distinct, key=lambda value: (str(type(value)), value))))


MAX_ONNX_CLASSES = 50
"""More distinct whole numbers than these in the target mean a regression."""


def _write_model(
    folder: Path, estimator: Any, source: Path | None, schema: ModelSchema, wanted: Format
) -> Format:
    if estimator is None and source is not None:
        (folder / Format.ONNX.file).write_bytes(source.read_bytes())
        return Format.ONNX
    if wanted is Format.ONNX:
        write_onnx(estimator, schema, folder / wanted.file)
    else:
        importlib.import_module("skops.io").dump(estimator, folder / wanted.file)
    return wanted


def _dataset(role: str, frame: Frame, time_column: str | None) -> dict[str, object]:
    """A dataset record; its digest is over columns and values, not over a file's encoding."""
    digest = hashlib.sha256(canonical([str(name) for name in frame.columns]))
    hashed = _pandas.util.hash_pandas_object(frame, index=False)
    digest.update(hashed.to_numpy().tobytes())
    columns = [{"name": str(n), "type": str(t)} for n, t in frame.dtypes.items()]
    span: dict[str, str] | None = None
    if time_column is not None:
        times = _pandas.to_datetime(frame[time_column], utc=True)
        span = {"from": _stamp(times.min()), "to": _stamp(times.max())}
    return {
        "role": role,
        "uri": None,
        "digest": f"sha256:{digest.hexdigest()}",
        "format": "table",
        "rows": len(frame),
        "columns": columns,
        "timeColumn": time_column,
        "timeRange": span,
    }


def _stamp(moment: Any) -> str:
    return moment.to_pydatetime().astimezone(UTC).isoformat().replace("+00:00", "Z")


def _lineage(lineage: Lineage) -> dict[str, object]:
    return {
        "parameters": dict(lineage.parameters),
        "parents": list(lineage.parents),
        "seed": lineage.seed,
        "producedBy": lineage.produced_by,
    }


def _environment() -> str:
    return "".join(f"{name}=={importlib.metadata.version(name)}\n" for name in _LIBRARIES)


def _now(path: Path) -> datetime:
    """The time at which the model's file was written, to the second."""
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n")
