"""Builds a package from a fitted model and its training table: a notebook's last cell.

Deterministic: the same model, table and `created_at` give the same digest. A failed build leaves
nothing behind.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from mooring_model.assemble import Assembly, Lineage
from mooring_model.author import SUFFIXES, read_author_file
from mooring_model.composite.source import CompositeSource
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.evaluate import Metric
from mooring_model.infer_schema import feature_names, infer_schema
from mooring_model.manifest import Format, Manifest, write_manifest
from mooring_model.python.source import CodeModel, CodeSource
from mooring_model.rules.source import RulesSource
from mooring_model.schema import Inference
from mooring_model.source import ModelSource, Source
from mooring_model.tables import read_table


def package(  # noqa: PLR0913 - a notebook's one call; everything after `data` is by name
    model: object | None,
    data: object,
    *,
    target: str,
    out: Path | str,
    name: str,
    time_column: str | None = None,
    segments: Sequence[str] = (),
    format: Literal["onnx", "skops"] = "onnx",  # noqa: A002 - the word that users know
    code: CodeModel | None = None,
    features: Sequence[str] | None = None,
    test: object | None = None,
    metrics: Sequence[Metric] | None = None,
    parameters: Mapping[str, object] | None = None,
    parents: Sequence[str] = (),
    seed: int | None = None,
    produced_by: str = "mooring package",
    card: str | None = None,
    threshold: float | None = None,
    data_uri: str | None = None,
    test_uri: str | None = None,
    created_at: datetime | None = None,
) -> Manifest:
    """Writes a package for a fitted model, and returns its manifest.

    Args:
        model: a fitted scikit-learn estimator, or the path of a .skops or .onnx file, or of rules
            or a composite in YAML or JSON; None with `code`.
        data: the training table: a pandas DataFrame, or the path of a Parquet or CSV file. Rows
            in their order of time when `time_column` is given.
        target: the label column.
        out: the directory to write; it must be empty or absent.
        name: the model's name.
        time_column: column with the time of each row; days become the blocks from which design
            effects, seasonal tolerances and the metrics' intervals are estimated.
        segments: features by whose most frequent values (at most 20 in all, 1,000 training rows
            each) traffic is watched and judged apart as well.
        format: how an estimator is stored; an .onnx file stays ONNX.
        code: the model as a directory of code, run in a process of its own (format python).
        features: the feature columns in the model's order; when None, those that the estimator was
            fitted to, or all but target and time.
        test: later rows, for metrics and, where they are enough, the score's reference.
        metrics: computed elsewhere; when None, computed here on both tables.
        parameters: hyperparameters, for the record.
        parents: digests of the versions that this one comes from.
        seed: of the training, for the record.
        produced_by: who made it.
        card: the model card in Markdown; a plain one is written when None.
        threshold: positive from this probability on; None: 0.5.
        data_uri: where others find `data`, for the record.
        test_uri: where others find `test`.
        created_at: in UTC; None: now.

    Raises:
        PackageRefused: the model does not fit the table; the message names column and remedy.
    """
    train = read_table(data, uri=data_uri)
    later = None if test is None else read_table(test, uri=test_uri)
    source = _open(model) if code is None else CodeSource(code)
    names = feature_names(
        train.frame,
        target=target,
        time_column=time_column,
        features=source.features(list(train.frame.columns)) if features is None else features,
        estimator=source.estimator,
    )
    classes = source.classes(train.frame[target])
    schema = infer_schema(
        train.frame, target=target, names=names, classes=classes, extras=source.extras
    )
    inference = Inference(threshold=_threshold(threshold))
    final = _fresh(Path(out))
    folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.partial-", dir=final.parent))
    try:
        chosen, runtime = source.write(folder, schema, Format(format))
        assembly = Assembly(folder, schema, inference, runtime, time_column, tuple(segments))
        agreement = source.agreement(runtime, schema, train.frame)
        measured = assembly.metrics(train, later) if metrics is None else list(metrics)
        assembly.write_profile(train, later)
        assembly.write_samples(train)
        assembly.write_records(train, later)
        assembly.write_contract()
        lineage = Lineage(parameters or {}, parents, seed, produced_by, agreement)
        assembly.write_account(name, measured, lineage, card)
        manifest = write_manifest(
            folder, model=name, format_=chosen, created_at=created_at or _now(folder / chosen.file)
        )
        folder.chmod(0o755)
        folder.replace(final)
    finally:
        source.close()
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def _open(model: object) -> Source:
    """What was given, by the file's name where it is one."""
    if not isinstance(model, (str, Path)) or Path(model).suffix not in SUFFIXES:
        return ModelSource.open(model)
    path = Path(model)
    return (
        CompositeSource.read(path) if "nodes" in read_author_file(path) else RulesSource.read(path)
    )


def _fresh(folder: Path) -> Path:
    """The directory's final place: absent, or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PackageRefused(
            RefusalReason.EXTRA_FILE,
            f"{folder} is not an empty directory",
            "choose a new directory: a package is never changed",
        )
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _threshold(value: float | None) -> float | None:
    if value is None or 0 <= value <= 1:
        return value
    raise PackageRefused(
        RefusalReason.SCHEMA_INVALID, f"threshold {value} is no probability", "choose 0 to 1"
    )


def _now(path: Path) -> datetime:
    """The time at which the model's file was written, to the second."""
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
