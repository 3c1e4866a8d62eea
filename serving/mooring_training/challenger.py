"""Scores champion and challenger on the same rows, and packages the challenger.

Both are scored as they serve: through the runtime of their packages, not through the estimator.
"""

import json
from datetime import datetime
from pathlib import Path

import numpy as np

from mooring_model.build import package
from mooring_model.evaluate import class_index, class_probabilities
from mooring_model.infer_schema import to_columns
from mooring_model.load import LoadedModel, load_package
from mooring_model.manifest import Manifest, package_digest, write_manifest
from mooring_model.prediction import PredictionFailed
from mooring_model.schema import SCHEMA, ModelSchema, Task, read_schema
from mooring_training.comparison import (
    Comparison,
    Floats,
    Metric,
    Rule,
    absolute_error,
    block_numbers,
    class_log_loss,
    compare,
)
from mooring_training.errors import RefusalReason, Refused
from mooring_training.settings import TrainingSettings
from mooring_training.snapshot import TIME, Snapshot, block_origin_us, modelling_table
from mooring_training.tuning import Choice, Estimator


def build_challenger(
    estimator: Estimator,
    snapshot: Snapshot,
    champion: LoadedModel,
    *,
    choice: Choice,
    settings: TrainingSettings,
    out: Path,
) -> LoadedModel:
    """Write the challenger's package and load it as a server would.

    Args:
        estimator: Fitted to the snapshot's training rows.
        snapshot: Its rows; `createdAt` of the package is the snapshot's, so that a retried Job
            makes the same package.
        champion: Its promises to clients are kept: features, classes, threshold.
        choice: What tuning chose, for the lineage.
        settings: The run.
        out: Folder to write.

    Raises:
        PackageRefused: The estimator does not convert or does not replay.
    """
    schema = champion.schema
    test = modelling_table(snapshot.test, schema) if len(snapshot.test) else None
    parameters = {
        **choice.trial.to_parameters(),
        "snapshotDigest": snapshot.record.digest,
        "validationLoss": choice.loss,
        "trials": choice.trials,
    }
    manifest = package(
        estimator,
        modelling_table(snapshot.train, schema),
        target=schema.target,
        out=out,
        name=settings.model,
        time_column=TIME,
        format="onnx",
        features=[spec.name for spec in schema.inputs],
        test=test,
        parameters=parameters,
        parents=[settings.champion.digest],
        seed=settings.seed or 0,
        produced_by=f"RetrainPolicy run {settings.run}",
        threshold=champion.inference.threshold,
        created_at=snapshot.record.created_at,
    )
    _keep_promises(out, schema, manifest, created_at=snapshot.record.created_at)
    return load_package(out)


def _keep_promises(
    folder: Path, champion: ModelSchema, manifest: Manifest, *, created_at: datetime
) -> None:
    """Let the challenger take null where the champion does.

    A window without missing values would otherwise make the new version refuse requests that
    clients were told are fine; trees and imputers answer them.

    Raises:
        Refused: SchemaMismatch; the challenger's `probability` would speak of another class.
    """
    schema = read_schema(folder)
    if (schema.classes, schema.positive_class) != (champion.classes, champion.positive_class):
        raise Refused(
            RefusalReason.SCHEMA_MISMATCH,
            f"the champion tells classes {champion.classes} apart, in this order, a challenger"
            f" {schema.classes}; its probabilities would mean something else",
            remedy="train the next version by hand, or package the champion with sorted classes",
        )
    nullable = {spec.name for spec in champion.inputs if spec.nullable}
    inputs = tuple(
        spec.model_copy(update={"nullable": spec.nullable or spec.name in nullable})
        for spec in schema.inputs
    )
    if inputs == schema.inputs:
        return
    document = schema.model_copy(update={"inputs": inputs}).model_dump(mode="json", by_alias=True)
    (folder / SCHEMA).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    write_manifest(folder, model=manifest.model, format_=manifest.format, created_at=created_at)


def compare_on_later_rows(
    champion: LoadedModel, challenger: LoadedModel, snapshot: Snapshot, settings: TrainingSettings
) -> Comparison | None:
    """Both models on the snapshot's test rows; None when there are none."""
    if not len(snapshot.test):
        return None
    table = modelling_table(snapshot.test, champion.schema)
    times = snapshot.test[TIME].to_numpy(dtype="datetime64[us]").astype(np.int64)
    evaluation = settings.evaluation
    return compare(
        losses(champion, table[champion.schema.target].to_numpy(), table),
        losses(challenger, table[champion.schema.target].to_numpy(), table),
        block_numbers(times, start_us=block_origin_us(snapshot.record), block=evaluation.block),
        metric=Metric.MAE if champion.schema.task is Task.REGRESSION else Metric.LOG_LOSS,
        rule=Rule(evaluation.alpha, evaluation.min_effect, evaluation.min_blocks),
    )


def losses(model: LoadedModel, truth: object, table: object) -> Floats:
    """Loss of each row of a table.

    Args:
        model: A package in memory.
        truth: [n] classes as the schema names them, or numbers.
        table: A frame with the model's features.

    Raises:
        Refused: SchemaMismatch; the model does not answer these rows with numbers.
    """
    try:
        prediction = model.predict(to_columns(model.schema, table))
    except PredictionFailed as error:
        raise _silent(model, str(error)) from error
    actual = np.asarray(truth)
    if model.schema.task is Task.REGRESSION:
        found = absolute_error(prediction.score, actual.astype(np.float64))
    else:
        probabilities = class_probabilities(model.schema, prediction)
        found = class_log_loss(probabilities, class_index(model.schema, actual))
    if not np.isfinite(found).all():
        raise _silent(model, f"{int((~np.isfinite(found)).sum())} answers are not numbers")
    return found


def _silent(model: LoadedModel, why: str) -> Refused:
    return Refused(
        RefusalReason.SCHEMA_MISMATCH,
        f"model {package_digest(model.manifest)} does not answer the logged rows: {why}",
        remedy="retrain from a champion that answers the traffic which the log holds",
    )


def trained_until(package_folder: Path) -> datetime | None:
    """The last event time of the champion's training rows; None where its package names none."""
    records = json.loads((package_folder / "datasets.json").read_text())
    ends = [
        datetime.fromisoformat(record["timeRange"]["to"])
        for record in records
        if record["role"] == "train" and record["timeRange"] is not None
    ]
    return max(ends, default=None)


def recorded_parameters(package_folder: Path) -> dict[str, object]:
    """The champion's hyperparameters, as its package records them."""
    document = json.loads((package_folder / "parameters.json").read_text())
    found: dict[str, object] = document.get("parameters", {})
    return found
