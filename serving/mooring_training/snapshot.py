"""The immutable data of one run: which rows, split by time, with a digest over their content.

Built once and written to the run's place; a retried Job takes the stored one, even when the log
has grown. `record.json` is written last and says that the two tables are complete.
"""

import hashlib
import importlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from mooring_model.errors import StoreUnavailable, UnavailableReason
from mooring_model.infer_schema import Frame
from mooring_model.manifest import canonical
from mooring_model.schema import Datatype, ModelSchema, Task
from mooring_training.errors import RefusalReason, Refused
from mooring_training.log import FEATURE_PREFIX, KEY, LogTables
from mooring_training.places import Place
from mooring_training.settings import DataSettings

pandas: Any = importlib.import_module("pandas")

FOLDER = "snapshot"
RECORD = f"{FOLDER}/record.json"
TIME = "event_time"
LABEL = "label"
PARTS = ("train", "test")
AHEAD = timedelta(days=1)
"""A row whose time is further in the future is a client's mistake; it must not move the window."""


@dataclass(frozen=True)
class SnapshotRecord:
    """What a snapshot is; `record.json`.

    Attributes:
        digest: Over the content of both tables, independent of files and their encoding.
        created_at: When it was frozen.
        rows: Rows of `train` and `test`.
        time_range: First and last event time of each.
        newest: The newest event time in the log.
        cutoff: Rows before this were mature.
        test_from: Where the test window begins.
        window_rows: Mature rows of the window, labelled or not.
        coverage: Share of them that had a label, 0 to 1.
        versions: Rows of the window by the version that answered.
        unknown_labels: Rows left out since the champion knows no such class.
        unusable: Rows of the log left out since their time lies in the future, since they lack a
            value that the champion does not answer without, or since the log withholds a feature
            (`spec.predictionLog.fields`).
        segments: Log segments read.
        unreadable: Segments skipped because they are no Parquet.
        columns: Name and type of each column.
    """

    digest: str
    created_at: datetime
    rows: Mapping[str, int]
    time_range: Mapping[str, tuple[datetime, datetime] | None]
    newest: datetime
    cutoff: datetime
    test_from: datetime
    window_rows: int
    coverage: float
    versions: Mapping[str, int]
    unknown_labels: int
    unusable: int
    segments: int
    unreadable: tuple[str, ...]
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Snapshot:
    """Rows to train on and later rows to compare on, each sorted by time.

    Attributes:
        train: `prediction_id`, `row`, `event_time`, `version`, `arm`, `f.<feature>` in the
            schema's types, `label` (the class as text, or a number), `label_time`.
        test: The same columns.
        record: What it is.
    """

    train: Frame
    test: Frame
    record: SnapshotRecord


def assemble(
    logs: LogTables,
    schema: ModelSchema,
    settings: DataSettings,
    *,
    trained_until: datetime | None,
    now: datetime,
) -> Snapshot:
    """Join, choose and split the rows of a run.

    Args:
        logs: Both logs of the deployment.
        schema: The champion's.
        settings: Window, maturity, test window and embargo.
        trained_until: Last event time that the champion was trained on. Test rows come after it
            and the embargo, since the champion knows the ones before.
        now: For the record, and to tell times that cannot be.

    Raises:
        Refused: NotEnoughRows or NotEnoughLabels, with the counts.
    """
    predictions = _usable(logs.predictions, schema, now=now)
    newest: datetime = predictions[TIME].max().to_pydatetime()
    cutoff = newest - settings.label_maturity
    start = cutoff - settings.window
    in_window = predictions[(predictions[TIME] >= start) & (predictions[TIME] < cutoff)]
    _require_rows(len(in_window), settings.min_rows, start, cutoff)
    joined = in_window.merge(_typed_labels(logs.labels, schema), on=KEY, how="inner")
    known = joined[joined[LABEL].notna()]
    _require_labels(len(known), len(in_window), settings.min_rows)
    rows = _typed_features(known, schema)
    test_from = cutoff - settings.test_window
    if trained_until is not None:
        test_from = max(test_from, trained_until + settings.embargo)
    train = rows[rows[TIME] < test_from - settings.embargo].reset_index(drop=True)
    test = rows[rows[TIME] >= test_from].reset_index(drop=True)
    _require_teachable(train, schema)
    record = SnapshotRecord(
        digest=content_digest(train, test),
        created_at=now,
        rows={"train": len(train), "test": len(test)},
        time_range={"train": _span(train), "test": _span(test)},
        newest=newest,
        cutoff=cutoff,
        test_from=test_from,
        window_rows=len(in_window),
        coverage=len(known) / len(in_window),
        versions=_counted(in_window["version"]),
        unknown_labels=len(joined) - len(known),
        unusable=len(logs.predictions) - len(predictions) + logs.withheld,
        segments=logs.segments,
        unreadable=logs.unreadable,
        columns={str(name): str(kind) for name, kind in rows.dtypes.items()},
    )
    return Snapshot(train, test, record)


def _usable(predictions: Frame, schema: ModelSchema, *, now: datetime) -> Frame:
    """The rows that both models could have been asked; at least one."""
    usable = predictions[TIME] <= now + AHEAD
    for spec in schema.inputs:
        if not spec.nullable:
            usable &= predictions[FEATURE_PREFIX + spec.name].notna()
    if not usable.any():
        raise Refused(
            RefusalReason.NOT_ENOUGH_ROWS,
            f"none of the {len(predictions)} answered rows of the log can be used: their time lies"
            " in the future, or they lack a feature that the champion demands",
            remedy="wait for traffic that the champion's schema accepts",
        )
    return predictions[usable]


def content_digest(train: Frame, test: Frame) -> str:
    """`sha256:` over names, types and values of both tables, in their order."""
    parts = {name: _table_digest(table) for name, table in (("train", train), ("test", test))}
    return "sha256:" + hashlib.sha256(canonical(parts)).hexdigest()


def store(snapshot: Snapshot, place: Place, run: str) -> Snapshot:
    """Write the two tables, then the record that says they are complete.

    Returns:
        The snapshot as it reads back: a table in memory and the same one from Parquet differ in
        the types of their texts, and a retried Job must make the same package.

    Raises:
        StoreUnavailable: What was written cannot be read.
    """
    for name, table in zip(PARTS, (snapshot.train, snapshot.test), strict=True):
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        place.write(f"{run}/{FOLDER}/{name}.parquet", buffer.getvalue())
    place.write(f"{run}/{RECORD}", _to_json(snapshot.record))
    stored = load(place, run)
    if stored is None:
        raise StoreUnavailable(
            UnavailableReason.STORE_UNREACHABLE,
            f"the snapshot of run {run} was written and is not there",
            "check that the store gives back what it accepted; this is tried again",
        )
    return stored


def load(place: Place, run: str) -> Snapshot | None:
    """The snapshot that an earlier attempt of this run froze; None when there is none.

    Raises:
        Refused: OutputConflict; the stored tables are not those of the record.
    """
    names = [f"{run}/{RECORD}", *(f"{run}/{FOLDER}/{part}.parquet" for part in PARTS)]
    found = place.read(names)
    if names[0] not in found:
        return None
    try:
        record = _from_json(found[names[0]])
        train, test = (pandas.read_parquet(io.BytesIO(found[name])) for name in names[1:])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise _conflict(run, f"is damaged ({type(error).__name__})") from error
    if content_digest(train, test) != record.digest:
        raise _conflict(run, f"does not have its digest {record.digest}")
    return Snapshot(train, test, record)


def _conflict(run: str, what: str) -> Refused:
    return Refused(
        RefusalReason.OUTPUT_CONFLICT,
        f"the stored snapshot of run {run} {what}",
        remedy=f"remove {run}/{FOLDER} from the output and trigger a new run",
    )


def _typed_labels(labels: Frame, schema: ModelSchema) -> Frame:
    """One column `label`: the class as the schema names it, or a number; missing if unknown."""
    table = labels[[*KEY, "label_time"]].copy()
    if schema.task is Task.REGRESSION:
        values = labels["label_value"].astype("float64")
        table[LABEL] = values.where(np.isfinite(values))
        return table
    # As text here: the schema's classes may be numbers or text, the log holds their text.
    known = {str(name) for name in schema.classes or ()}
    text = labels["label"].astype("object")
    table[LABEL] = text.where(text.isin(known))
    return table


def _typed_features(rows: Frame, schema: ModelSchema) -> Frame:
    table = rows[[*KEY, TIME, "version", "arm"]].copy()
    for spec in schema.inputs:
        column = rows[FEATURE_PREFIX + spec.name]
        match spec.datatype:
            case Datatype.BYTES:
                table[column.name] = column.astype("object").where(column.notna(), None)
            case Datatype.BOOL:
                table[column.name] = column.astype("bool")
            case Datatype.FP64 | Datatype.INT64:
                table[column.name] = column.astype("float64")
    table[LABEL] = rows[LABEL]
    table["label_time"] = rows["label_time"]
    return table.sort_values([TIME, *KEY], kind="stable").reset_index(drop=True)


def _require_rows(rows: int, least: int, start: datetime, cutoff: datetime) -> None:
    if rows < least:
        raise Refused(
            RefusalReason.NOT_ENOUGH_ROWS,
            f"{rows} mature rows from {_stamp(start)} to {_stamp(cutoff)}, {least} are needed",
            remedy="wait for traffic, lengthen data.window or lower data.minRows",
        )


def _require_labels(known: int, mature: int, wanted: int) -> None:
    if known < wanted:
        raise Refused(
            RefusalReason.NOT_ENOUGH_LABELS,
            f"{known} of {mature} mature rows have a usable label, {wanted} are needed",
            remedy="send more labels, or lengthen data.window or data.labelMaturity",
        )


def _require_teachable(train: Frame, schema: ModelSchema) -> None:
    if not len(train):
        raise Refused(
            RefusalReason.NOT_ENOUGH_ROWS,
            "no labelled row lies before the test window and its embargo",
            remedy="wait for older traffic, or shorten data.testWindow",
        )
    present = {str(name) for name in train[LABEL].unique()}
    missing = [str(name) for name in schema.classes or () if str(name) not in present]
    if missing:
        raise Refused(
            RefusalReason.NOT_ENOUGH_LABELS,
            f"no training row has the class {', '.join(missing)}",
            remedy="lengthen data.window until every class of the champion has labels",
        )
    empty = [spec.name for spec in schema.inputs if train[FEATURE_PREFIX + spec.name].isna().all()]
    if empty:
        raise Refused(
            RefusalReason.SCHEMA_MISMATCH,
            f"feature {', '.join(empty)} has no value in any training row",
            remedy="repair the source of the feature; a model trained now would ignore it",
        )


def _table_digest(table: Frame) -> str:
    digest = hashlib.sha256()
    for name in table.columns:
        column = table[name]
        kind = column.dtype.kind
        digest.update(canonical([str(name), "t" if kind == "M" else kind, len(column)]))
        if kind == "M":
            moments = column.dt.as_unit("us").to_numpy(dtype="datetime64[us]")
            digest.update(moments.astype("<i8").tobytes())
        elif kind in "fiub":
            values = column.to_numpy(dtype="<f8")
            digest.update(np.where(np.isnan(values), np.nan, values).tobytes())
        else:
            digest.update(_text_bytes(column))
    return digest.hexdigest()


def _text_bytes(column: Any) -> bytes:
    """Lengths (-1 for missing) and then the text, so that no two columns look alike."""
    values = column.astype("object").where(column.notna(), None)
    encoded = [None if value is None else str(value).encode() for value in values]
    lengths = np.array([-1 if text is None else len(text) for text in encoded], dtype="<i8")
    return lengths.tobytes() + b"".join(text for text in encoded if text is not None)


def _counted(column: Any) -> dict[str, int]:
    return {str(name): int(count) for name, count in column.value_counts().sort_index().items()}


def _span(table: Frame) -> tuple[datetime, datetime] | None:
    if not len(table):
        return None
    return table[TIME].iloc[0].to_pydatetime(), table[TIME].iloc[-1].to_pydatetime()


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _to_json(record: SnapshotRecord) -> bytes:
    def plain(value: object) -> str:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        raise TypeError(f"{type(value).__name__} in a snapshot record")

    return json.dumps(asdict(record), indent=1, sort_keys=True, default=plain).encode() + b"\n"


def _from_json(data: bytes) -> SnapshotRecord:
    document: dict[str, Any] = json.loads(data)
    for name in ("created_at", "newest", "cutoff", "test_from"):
        document[name] = datetime.fromisoformat(document[name])
    document["time_range"] = {
        part: None if span is None else tuple(datetime.fromisoformat(end) for end in span)
        for part, span in document["time_range"].items()
    }
    document["unreadable"] = tuple(document["unreadable"])
    return SnapshotRecord(**document)


def block_origin_us(record: SnapshotRecord) -> int:
    """Where the first block of the comparison begins, in microseconds since the epoch."""
    return (record.test_from - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def modelling_table(rows: Frame, schema: ModelSchema) -> Frame:
    """A part of the snapshot as a model's training table: features by name, target, time.

    The target holds the classes as the schema names them, or numbers.
    """
    names = {FEATURE_PREFIX + spec.name: spec.name for spec in schema.inputs}
    table = rows[list(names)].rename(columns=names)
    table[TIME] = rows[TIME]
    classes = {str(name): name for name in schema.classes or ()}
    table[schema.target] = rows[LABEL].map(classes) if classes else rows[LABEL]
    return table
