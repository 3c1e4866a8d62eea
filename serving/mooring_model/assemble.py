"""The derived files of a package: profile, samples, metrics, dataset records, lineage, card."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mooring_model.agreement import Agreement
from mooring_model.calibrated import LEAST_ROWS, ScoreStreams, calibrate_score
from mooring_model.card import default_card
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.evaluate import Metric, evaluate
from mooring_model.infer_schema import Frame, class_of, to_columns
from mooring_model.load import PROFILE
from mooring_model.prediction import Answerer, Array, Columns, Prediction, PredictionFailed, Runtime
from mooring_model.reference import AnsweredRows, ReferenceMaker
from mooring_model.samples import MAX_ROWS, write_samples
from mooring_model.schema import INFERENCE, SCHEMA, Inference, ModelSchema
from mooring_model.tables import Table
from mooring_profile.calibration import Calibration
from mooring_profile.document import ReferenceProfile
from mooring_profile.errors import ProfileInvalid

METRICS = "metrics.json"
HELD_OUT_ROWS = 1000
HELD_OUT_DAYS = 14
"""A test table of fewer rows or days is too small to be the score's reference."""
_LIBRARIES = (
    "catboost", "imbalanced-learn", "joblib", "lightgbm", "mooring", "numpy", "onnx", "onnxruntime",
    "pandas", "pyarrow", "scikit-learn", "scipy", "skl2onnx", "skops", "xgboost",
)  # fmt: skip


@dataclass(frozen=True)
class Lineage:
    """parameters.json: how the model came about."""

    parameters: Mapping[str, object]
    parents: Sequence[str]
    seed: int | None
    produced_by: str
    agreement: Agreement | None

    def to_json(self) -> dict[str, object]:
        """The document."""
        return {
            "parameters": dict(self.parameters),
            "parents": list(self.parents),
            "seed": self.seed,
            "producedBy": self.produced_by,
            "conversion": None if self.agreement is None else self.agreement.to_json(),
        }


@dataclass(frozen=True)
class Assembly:
    """Writes what can be derived from model and tables into `folder`."""

    folder: Path
    schema: ModelSchema
    inference: Inference
    runtime: Runtime
    time_column: str | None
    segments: tuple[str, ...] = ()

    def write_contract(self) -> None:
        """schema.json and inference.json."""
        self._write(SCHEMA, self.schema.model_dump(mode="json", by_alias=True))
        self._write(INFERENCE, self.inference.model_dump(mode="json", by_alias=True))

    def metrics(self, train: Table, later: Table | None) -> list[Metric]:
        """The task's metrics on each table."""
        measured = self._evaluate(train, "train")
        return measured if later is None else measured + self._evaluate(later, "test")

    def write_profile(self, train: Table, later: Table | None) -> None:
        """profile.json: inputs as trained on; the score held out, where the test table suffices."""
        maker = ReferenceMaker(self.schema, self.inference, self.segments)
        held_out = later if later is not None and self._suffices(later) else None
        try:
            profile = maker.profile(
                self._answered(train), None if held_out is None else self._answered(held_out)
            )
        except ProfileInvalid as error:
            raise PackageRefused(
                RefusalReason.SCHEMA_INVALID,
                f"the table cannot be profiled: {error}",
                "name features of the model as segments, and give a table of its rows",
            ) from error
        profile = replace(profile, calibration=self._calibration(profile, train, later))
        self._write(PROFILE, profile.to_json())

    def write_samples(self, train: Table) -> None:
        """samples.json: at most 100 rows, spread evenly over the training table."""
        columns = to_columns(self.schema, train.frame)
        usable = np.ones(len(train.frame), dtype=bool)
        for values in columns.values():
            if values.dtype.kind == "f":
                usable &= ~np.isinf(values)  # JSON has no infinity
        places = np.flatnonzero(usable)
        if not places.size:
            raise PackageRefused(
                RefusalReason.SCHEMA_INVALID,
                "every row of the table holds an infinite value",
                "replace infinite values before fit()",
            )
        chosen = places[:: max(1, len(places) // MAX_ROWS)][:MAX_ROWS]
        rows: Columns = {name: values[chosen] for name, values in columns.items()}
        write_samples(self.folder, rows, self._answer(rows).outputs)

    def write_records(self, train: Table, later: Table | None) -> None:
        """datasets.json."""
        records = [train.record("train", self.time_column)]
        if later is not None:
            records.append(later.record("test", self.time_column))
        self._write("datasets.json", records)

    def write_account(
        self, name: str, metrics: Sequence[Metric], lineage: Lineage, card: str | None
    ) -> None:
        """metrics.json, parameters.json, environment.lock and card.md."""
        self._write(METRICS, [metric.to_json() for metric in metrics])
        self._write("parameters.json", lineage.to_json())
        (self.folder / "environment.lock").write_text(_environment(), encoding="utf-8")
        text = card or default_card(name, self.schema, metrics, lineage.agreement)
        (self.folder / "card.md").write_text(text, encoding="utf-8")

    def _suffices(self, later: Table) -> bool:
        blocks = later.blocks(self.time_column)
        enough = len(later.frame) >= HELD_OUT_ROWS
        return enough and (blocks is None or int(blocks.max()) + 1 >= HELD_OUT_DAYS)

    def _answered(self, table: Table) -> AnsweredRows:
        columns = to_columns(self.schema, table.frame)
        return AnsweredRows(
            columns,
            self._answer(columns),
            table.blocks(self.time_column),
        )

    def _calibration(
        self, profile: ReferenceProfile, train: Table, later: Table | None
    ) -> Calibration | None:
        """What the score is worth on later rows, or else on those that were trained on."""
        held_out = later is not None and len(later.frame) >= LEAST_ROWS
        table = later if later is not None and held_out else train
        columns = to_columns(self.schema, table.frame)
        answers = self._answer(columns)
        streams = ScoreStreams.of(profile, columns, answers)
        if streams is None:
            return None
        return calibrate_score(
            self.schema,
            streams,
            answers,
            self._truth(table.frame),
            threshold=self.inference.threshold,
            held_out=held_out,
        )

    def _evaluate(self, table: Table, role: str) -> list[Metric]:
        prediction = self._answer(to_columns(self.schema, table.frame))
        try:
            return evaluate(
                self.schema,
                prediction,
                self._truth(table.frame),
                dataset=role,
                blocks=table.blocks(self.time_column),
            )
        except (ValueError, KeyError) as error:
            raise PackageRefused(
                RefusalReason.SCHEMA_INVALID,
                f"the {role} table does not fit the model: {error}",
                "give it the columns and the labels of the training table",
            ) from error

    def _truth(self, frame: Frame) -> Array:
        truth = frame[self.schema.target].to_numpy()
        if self.schema.classes is None:
            return truth.astype(np.float64)
        return np.array([class_of(value) for value in truth], dtype=object)

    def _answer(self, columns: Columns) -> Prediction:
        try:
            return Answerer.of(self.runtime, self.schema, self.inference).predict(columns)
        except PredictionFailed as error:
            raise PackageRefused(
                RefusalReason.LOAD_FAILED,
                f"the model does not answer its table: {error}",
                "give the table with the columns and types that the model was fitted to",
            ) from error

    def _write(self, name: str, document: object) -> None:
        text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
        (self.folder / name).write_text(text + "\n", encoding="utf-8")


def _environment() -> str:
    """`name==version` of every library here that can have made or converted a model."""
    lines: list[str] = []
    for name in _LIBRARIES:
        try:
            lines.append(f"{name}=={importlib.metadata.version(name)}\n")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "".join(lines)
