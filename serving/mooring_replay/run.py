"""Replays the detector over a stream of rows: reference to profile, rows to windows, to alarms."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mooring_profile import (
    DriftDetector,
    FeatureKind,
    ProfileInvalid,
    ReferenceProfile,
    SketchRecorder,
    StreamEvidence,
    StreamKind,
)
from mooring_profile.binning import Column
from mooring_profile.document import SCORE_STREAM
from mooring_profile.plan import Batch, ProfilePlan
from mooring_profile.streaming import build_profile_of_batches
from mooring_replay.blocks import BlockRule, block_rule
from mooring_replay.columns import Plan, plan_columns
from mooring_replay.errors import ReplayRefused
from mooring_replay.history import History
from mooring_replay.result import Alarm, Replay, StreamResult
from mooring_replay.settings import ReplaySettings
from mooring_replay.tables import Frame, TableFile, numbers_where_possible, values_of

Columns = dict[str, Column]
MIN_REFERENCE_ROWS = 1000
CLUSTERED = 3.0
"""A design effect from here on is told: nobody expects a sorted reference to cost that much."""


def replay(reference: TableFile, stream: TableFile, settings: ReplaySettings) -> Replay:
    """Judges every window of a stream against a reference.

    Raises:
        ReplayRefused: a table cannot be read, lacks a named column, has no rows, or nothing can
            be watched.
    """
    plan = plan_columns(reference, stream, settings)
    profile, rule = _profile(reference, plan, settings)
    try:
        detector = DriftDetector(profile, false_alarm_windows=settings.false_alarm_every)
    except ProfileInvalid as error:
        raise ReplayRefused(str(error), "name columns with --feature") from error
    watch = _Watch(plan, settings)
    recorder, state = SketchRecorder(profile), detector.initial()
    last: tuple[StreamEvidence, ...] = ()
    for piece in _windows(stream, plan, settings.window):
        recorder.record(piece.columns, None if plan.score is None else piece.columns[plan.score])
        if not piece.complete:
            continue
        state, last = detector.step(state, recorder.snapshot())
        watch.see(last, piece.last_row, recorder.cells)
        recorder.cells[:] = 0
    if not last:
        raise ReplayRefused(f"{stream.path} has no rows", "give the rows to judge")
    return Replay(
        reference=reference.path.name,
        stream=stream.path.name,
        settings=settings,
        plan=plan,
        profile=profile,
        rows=watch.rows,
        alarms=tuple(watch.alarms),
        streams=watch.streams(last),
        evidence=np.array(watch.levels, dtype=np.float64),
        history=watch.history,
        unarmed=detector.refused,
        notes=_notes(profile, plan, settings, rule),
    )


@dataclass(frozen=True)
class _Piece:
    """Consecutive rows of one window, read from one batch.

    Attributes:
        columns: [rows] for each column.
        last_row: of the piece, from 1.
        complete: whether the window ends with it.
    """

    columns: Columns
    last_row: int
    complete: bool


@dataclass
class _Watch:
    """What is kept while windows pass by."""

    plan: Plan
    settings: ReplaySettings
    rows: int = 0
    alarms: list[Alarm] = field(default_factory=list[Alarm])
    levels: list[list[float]] = field(default_factory=list[list[float]])
    history: History = field(default_factory=History.empty)
    first: dict[int, int] = field(default_factory=dict[int, int])
    _named: set[tuple[str, str | None, StreamKind]] = field(
        default_factory=set[tuple[str, str | None, StreamKind]]
    )

    def see(
        self,
        evidence: tuple[StreamEvidence, ...],
        last_row: int,
        cells: np.ndarray[tuple[int], np.dtype[np.int64]],
    ) -> None:
        """Takes a judged window: each feature alarms once as each kind, whatever its signals."""
        self.rows = last_row
        self.levels.append(
            [math.nan if e.log_evidence is None else e.log_evidence for e in evidence]
        )
        self.history.add(cells)
        window = len(self.levels)
        for index, item in enumerate(evidence):
            if not item.alarm or index in self.first:
                continue
            self.first[index] = window
            name = (item.feature, item.segment, item.kind)
            if name not in self._named:
                self._named.add(name)
                self.alarms.append(self._alarm(item, window))

    def streams(self, last: tuple[StreamEvidence, ...]) -> tuple[StreamResult, ...]:
        """The streams at the end."""
        return tuple(
            StreamResult(
                feature=self.plan.column_of(item.feature),
                segment=item.segment,
                kind=item.kind,
                signal=item.signal,
                threshold=item.threshold,
                alarm_window=self.first.get(index),
                last=item,
            )
            for index, item in enumerate(last)
        )

    def _alarm(self, item: StreamEvidence, window: int) -> Alarm:
        # Evidence from long ago can carry an alarm that no beginning explains: then it is now.
        since = window - 1 if item.since_window is None else item.since_window
        return Alarm(
            row=self.rows,
            window=window,
            feature=self.plan.column_of(item.feature),
            segment=item.segment,
            kind=item.kind,
            signal=item.signal,
            change_row=since * self.settings.window + 1,
            text=item.effect_text.replace(SCORE_STREAM, self.plan.column_of(SCORE_STREAM)),
        )


def _profile(
    reference: TableFile, plan: Plan, settings: ReplaySettings
) -> tuple[ReferenceProfile, BlockRule]:
    """The reference's profile, from batches of its watched columns."""
    times: list[Frame] = []
    if settings.time_column is not None:
        column = settings.time_column
        times = [frame[column] for frame in reference.batches([column])]
    rule = block_rule(times, settings, str(reference.path))
    wanted = ProfilePlan(
        segments=settings.segments,
        multivariate=settings.multivariate,
        self_test=settings.self_test and (rule.ids is not None or rule.rows_a_block is not None),
    )
    try:
        profile = build_profile_of_batches(
            lambda: _batches(reference, plan, rule),
            plan.kinds,
            tolerance_floor=settings.tolerance,
            plan=wanted,
        )
    except ProfileInvalid as error:
        raise ReplayRefused(f"{reference.path}: {error}", "correct the reference") from error
    return profile, rule


def _batches(reference: TableFile, plan: Plan, rule: BlockRule) -> Iterator[Batch]:
    first = 0
    for frame in reference.batches(plan.columns, as_text=_csv_text(reference, plan)):
        columns, rows = _columns(frame, plan), len(frame)
        score = None if plan.score is None else columns[plan.score]
        yield Batch.of(columns, plan.kinds, score, rule.of_rows(first, rows))
        first += rows


def _windows(stream: TableFile, plan: Plan, window: int) -> Iterator[_Piece]:
    """The stream cut at the ends of its windows and of the batches it is read in."""
    row = 0
    pending: _Piece | None = None
    for frame in stream.batches(plan.columns, as_text=_csv_text(stream, plan)):
        columns = _columns(frame, plan)
        start, rows = 0, len(frame)
        while start < rows:
            stop = min(rows, start + window - row % window)
            row += stop - start
            cut = {name: column[start:stop] for name, column in columns.items()}
            if pending is not None:
                yield pending
            pending = _Piece(cut, row, row % window == 0)
            start = stop
    if pending is not None:  # the last window may be shorter than the others
        yield _Piece(pending.columns, pending.last_row, complete=True)


def _csv_text(table: TableFile, plan: Plan) -> frozenset[str]:
    """What is text in the reference is read as text, whatever a batch of the stream looks like."""
    return plan.text & set(table.columns) if not table.parquet else frozenset()


def _columns(frame: Frame, plan: Plan) -> Columns:
    columns = {name: values_of(frame[name]) for name in plan.columns}
    for name, kind in plan.kinds.items():
        if kind is FeatureKind.CATEGORICAL and name not in plan.text:
            columns[name] = numbers_where_possible(columns[name])
    return columns


def _notes(
    profile: ReferenceProfile, plan: Plan, settings: ReplaySettings, rule: BlockRule
) -> tuple[str, ...]:
    """What a reader should know about how the reference was read."""
    notes = [rule.told(profile.rows), *profile.notes]
    if profile.rows < MIN_REFERENCE_ROWS:
        notes.append(
            f"The reference has only {profile.rows:,} rows: its own error widens the tolerances; "
            f"{MIN_REFERENCE_ROWS:,} rows or more see more."
        )
    names = [*plan.kinds, *([] if plan.score is None else [plan.score])]
    worst = max(zip(profile.streams, names, strict=False), key=lambda item: item[0].design_effect)
    if worst[0].design_effect >= CLUSTERED:
        remedy = (
            "if it is sorted rather than in order of arrival, say --reference-order none"
            if settings.time_column is None
            else "rows of one user or session hang together, perhaps"
        )
        notes.append(
            f"Neighbouring rows of the reference are alike in {worst[1]}: "
            f"{worst[0].design_effect:.1f} of them weigh as one; {remedy}."
        )
    return tuple(notes)
