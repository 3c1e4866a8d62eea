"""Reads the prediction log and the label log into tables (contracts §6). The Parquet edge.

A row counts once however many segments and pods hold it, the first label of a row wins over all
pods, and rows of the shadow arm are left out: nobody was answered with them.
"""

import importlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mooring_training.errors import RefusalReason, Refused
from mooring_training.places import Place

pandas: Any = importlib.import_module("pandas")
_arrow: Any = importlib.import_module("pyarrow")
_parquet: Any = importlib.import_module("pyarrow.parquet")

Frame = Any
"""A `pandas.DataFrame`."""

FEATURE_PREFIX = "f."
SHADOW = "shadow"
KEY = ["prediction_id", "row"]
PREDICTION_COLUMNS = ("prediction_id", "row", "event_time", "version", "arm")
LABEL_COLUMNS = ("prediction_id", "row", "label", "label_value", "label_time")
SEGMENTS_AT_ONCE = 64
"""Segments read together: enough to hide a store's latency, few enough for memory."""


@dataclass(frozen=True)
class LogTables:
    """The two logs of one deployment, each row once.

    Attributes:
        predictions: `prediction_id`, `row`, `event_time`, `version`, `arm`, `f.<feature>`….
        labels: `prediction_id`, `row`, `label`, `label_value`, `label_time`.
        segments: Parquet files read.
        unreadable: Names of files that are no Parquet, which were skipped.
        withheld: Rows of segments that leave out or hash one of the features, which were skipped:
            an absent column must not pass for missing values.
    """

    predictions: Frame
    labels: Frame
    segments: int
    unreadable: tuple[str, ...]
    withheld: int = 0


def read_logs(place: Place, deployment: str, features: Sequence[str]) -> LogTables:
    """Read both logs of a deployment.

    Args:
        place: The log's root.
        deployment: `<namespace>/<name>`.
        features: The features of the champion's schema.

    Raises:
        Refused: NoLog, or SchemaMismatch when no segment has one of the features.
        StoreUnavailable: The store did not answer.
    """
    wanted = [*PREDICTION_COLUMNS, *(FEATURE_PREFIX + name for name in features)]
    predictions = _read(place, f"{deployment}/predictions", wanted)
    if predictions.table is None and predictions.withheld:
        names = ", ".join(sorted(predictions.withheld_features))
        raise Refused(
            RefusalReason.SCHEMA_MISMATCH,
            f"the prediction log of {deployment} leaves out or hashes {names}"
            " (spec.predictionLog.fields), which the champion needs",
            remedy="let the ModelDeployment log these features and wait for traffic, or retrain"
            " from a champion that does without them",
        )
    if predictions.table is None:
        raise Refused(
            RefusalReason.NO_LOG,
            f"there is no prediction log of {deployment}",
            remedy="set spec.predictionLog on the ModelDeployment, and wait for traffic",
        )
    absent = [name for name in wanted if name not in predictions.table.columns]
    if absent:
        raise Refused(
            RefusalReason.SCHEMA_MISMATCH,
            f"the prediction log of {deployment} has no column {', '.join(absent)}",
            remedy="retrain from a champion whose schema the logged traffic has",
        )
    labels = _read(place, f"{deployment}/labels", LABEL_COLUMNS)
    if labels.table is None:
        raise Refused(
            RefusalReason.NOT_ENOUGH_LABELS,
            f"there is no label log of {deployment}",
            remedy="send labels to POST /v2/models/NAME/feedback",
        )
    return LogTables(
        predictions=_each_prediction_once(predictions.table),
        labels=_first_labels(labels.table.reindex(columns=list(LABEL_COLUMNS))),
        segments=predictions.segments + labels.segments,
        unreadable=(*predictions.unreadable, *labels.unreadable),
        withheld=predictions.withheld,
    )


@dataclass(frozen=True)
class _Read:
    table: Frame | None
    segments: int
    unreadable: tuple[str, ...]
    withheld: int
    withheld_features: frozenset[str]


def _read(place: Place, folder: str, columns: Sequence[str]) -> _Read:
    names = place.names(folder, ".parquet")
    tables: list[Any] = []
    unreadable: list[str] = []
    withheld = 0
    features: set[str] = set()
    for batch in _batches(names):
        for name, data in sorted(place.read(batch).items()):
            table = _parse(data, columns)
            if table is None:
                unreadable.append(name)
            elif missing := _withheld(table.schema, columns):
                withheld += table.num_rows
                features |= missing
            else:
                tables.append(table)
    if not tables:
        return _Read(None, 0, tuple(unreadable), withheld, frozenset(features))
    # Segments of an older version may lack a feature or hold another number type.
    try:
        joined = _arrow.concat_tables(tables, promote_options="permissive")
    except (_arrow.ArrowInvalid, _arrow.ArrowTypeError) as error:
        raise Refused(
            RefusalReason.SCHEMA_MISMATCH,
            f"segments of {folder} disagree about a column's type: {str(error)[:300]}",
            remedy="move the segments of the version with the other type out of the log",
        ) from error
    read = joined.to_pandas()
    return _Read(read, len(tables), tuple(unreadable), withheld, frozenset(features))


def _withheld(schema: Any, columns: Sequence[str]) -> set[str]:
    """Features among the columns that the segment's own metadata says it does not hold."""
    facts: dict[bytes, bytes] = schema.metadata or {}
    names: list[str] = []
    for fact in (b"mooring.omitted", b"mooring.hashed"):
        names += json.loads(facts.get(fact, b"[]"))
    return {name for name in names if FEATURE_PREFIX + name in columns}


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), SEGMENTS_AT_ONCE):
        yield names[start : start + SEGMENTS_AT_ONCE]


def _parse(data: bytes, columns: Sequence[str]) -> Any:
    """The wanted columns of one segment; None when it is no Parquet file or a damaged one."""
    try:
        segment = _parquet.ParquetFile(io.BytesIO(data))
        present = set(segment.schema_arrow.names)
        return segment.read(columns=[name for name in columns if name in present])
    except (_arrow.ArrowInvalid, OSError):
        return None


def _each_prediction_once(table: Frame) -> Frame:
    answered = table[table["arm"] != SHADOW]
    ordered = answered.sort_values(["event_time", *KEY, "version", "arm"], kind="stable")
    return ordered.drop_duplicates(KEY).reset_index(drop=True)


def _first_labels(table: Frame) -> Frame:
    ordered = table.sort_values(["label_time", *KEY, "label", "label_value"], kind="stable")
    return ordered.drop_duplicates(KEY).reset_index(drop=True)
