"""Our own model and its duties for a batch of requests: predict, count, record, log, receipts.

Every transport's requests come here decoded, several at a time, and leave as `Reply`s. What a batch
shares (the session, the clock, the lock of the counters, the recorder's queue) is paid for once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mooring_serving.arms import Arm
from mooring_serving.clock import Clock, format_microseconds, parse_time, to_microseconds
from mooring_serving.cohorts import MOST_AHEAD_US, PredictedRows
from mooring_serving.conversation import Query, Reply, Settle
from mooring_serving.counters import Answered, Counters
from mooring_serving.errors import InvalidOutput, ModelFault, RequestRefused
from mooring_serving.log.segments import SegmentedLog
from mooring_serving.log.tables import PredictionEntry
from mooring_serving.protocol.messages import Columns, InferenceRequest, join_columns
from mooring_serving.receipts import ReceiptWriter
from mooring_serving.recorder import Recorder
from mooring_serving.row_segments import RowSegments
from mooring_serving.served import Answer, ServedModel
from mooring_serving.settings import EventTime

EVENT_TIME = "event_time"


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which side of which comparison a prediction of our own model belongs to.

    Attributes:
        arm: The arm, as receipt and log say it.
        phase: The phase, as receipt and log say it.
        owned: Whether this pod owns the outcome and counts it for the arm. False for what others
            forwarded to us (they count it) and for a fallback (it was the candidate's).
        deadline_seconds: After this the forwarder has given up, so nothing is counted or logged.
    """

    arm: Arm = Arm.STABLE
    phase: str | None = None
    owned: bool = True
    deadline_seconds: float | None = None

    @property
    def live(self) -> bool:
        """Whether somebody gets this answer."""
        return self.arm is not Arm.SHADOW


@dataclass(slots=True)
class Ticket:
    """A query that our own model answers. Not frozen: one a request.

    Attributes:
        query: The query.
        event_time_us: The time that it is about, microseconds since the epoch.
        assignment: What the prediction belongs to.
        settle: Gets the reply or the error.
        close: Whether the connection should end with the answer.
    """

    query: Query
    event_time_us: int
    assignment: Assignment
    settle: Settle
    close: bool = False


Outcome = Answer | ModelFault
"""What the model made of one ticket."""


@dataclass(slots=True)
class Predicted:
    """What the model made of a batch.

    Attributes:
        outcomes: One for each ticket.
        columns: The columns of all tickets in one, None when the batch had to be taken apart.
        whole: The answer of all rows, None as above.
        segments: For each ticket the segments of its rows; empty: not asked for, or the batch had
            to be taken apart.
    """

    outcomes: Sequence[Outcome]
    columns: Columns | None = None
    whole: Answer | None = None
    segments: Sequence[Sequence[int]] = ()


@dataclass(frozen=True, slots=True)
class Receipting:
    """How receipts are made.

    Attributes:
        writer: Writes them.
        event_time: Whether requests may say which time they are about.
        segments: Finds the segments that receipts name; None: they name none.
    """

    writer: ReceiptWriter
    event_time: EventTime
    segments: RowSegments | None = None


class Dataplane:
    """The path of a batch through the model and its duties.

    Args:
        model: The served model.
        counters: The pod's counters.
        recorder: Counts features and scores.
        log: The prediction log, or None.
        receipts: How receipts are made.
        clock: Time.
    """

    def __init__(
        self,
        model: ServedModel,
        counters: Counters,
        recorder: Recorder,
        log: SegmentedLog[PredictionEntry] | None,
        *,
        receipts: Receipting,
        clock: Clock,
    ) -> None:
        self.model = model
        self._counters = counters
        self.recorder = recorder
        self._log = log
        self._receipts = receipts.writer
        self._event_time = receipts.event_time
        self._segments = receipts.segments
        self._clock = clock
        self._features = tuple(feature.name for feature in model.signature.features)

    def read_event_time(self, request: InferenceRequest) -> int:
        """Microseconds since the epoch that a request is about.

        Raises:
            RequestRefused: `parameters.event_time` is not a time, or far in the future.
        """
        now_us = int(self._clock.wall() * 1_000_000)
        if self._event_time is EventTime.REQUEST:
            text = request.parameters.get(EVENT_TIME)
            if text is not None:
                return _read_event_time(text, now_us)
        return now_us

    def predict(self, tickets: Sequence[Ticket]) -> Predicted:
        """Predict a batch; may run on any thread.

        A batch that fails is predicted again one by one, so that a fault costs only its own
        request.
        """
        requests = [ticket.query.request for ticket in tickets]
        columns = join_columns(requests, self._features)
        try:
            whole = self.model.predict(columns, sum([request.rows for request in requests]))
        except ModelFault as fault:
            if len(tickets) == 1:
                return Predicted([fault])
            return Predicted([self._predict_one(request) for request in requests])
        segments = self._segments_of(requests, columns, whole)
        if len(tickets) == 1:
            return Predicted([whole], columns, whole, segments)
        outcomes: list[Outcome] = []
        start = 0
        for request in requests:
            outcomes.append(whole.rows(start, start + request.rows))
            start += request.rows
        return Predicted(outcomes, columns, whole, segments)

    def _segments_of(
        self, requests: Sequence[InferenceRequest], columns: Columns, whole: Answer
    ) -> Sequence[Sequence[int]]:
        """The segments of each request's rows, found for all of them at once."""
        if self._segments is None:
            return ()
        rows = sum([request.rows for request in requests])
        found = iter(self._segments.of(columns, rows, whole.chosen))
        return [list(islice(found, request.rows)) for request in requests]

    def _predict_one(self, request: InferenceRequest) -> Outcome:
        try:
            return self.model.predict(request.columns, request.rows)
        except ModelFault as fault:
            return fault

    def finish(self, tickets: Sequence[Ticket], predicted: Predicted) -> None:
        """Count, record and log a predicted batch, then settle its tickets. On the loop.

        What is counted is counted before anybody has an answer, so that a snapshot never lags
        behind what clients have seen.
        """
        now = self._clock.monotonic()
        replies: list[Reply | ModelFault] = []
        answered: list[Answered] = []
        by_candidate: list[Answered] = []
        predicted_rows: list[PredictedRows] = []
        rows = 0
        parts = predicted.segments or ((),) * len(tickets)
        for ticket, outcome, segments in zip(tickets, predicted.outcomes, parts, strict=True):
            elapsed = now - ticket.query.received_at
            if isinstance(outcome, ModelFault):
                self._count_fault(ticket.assignment, outcome)
                replies.append(outcome)
                continue
            rows += ticket.query.request.rows
            assignment = ticket.assignment
            in_time = _in_time(assignment, elapsed)
            replies.append(
                self._finish_one(ticket, outcome, elapsed, in_time=in_time, segments=segments)
            )
            if assignment.live and in_time:
                phase = assignment.phase if assignment.owned else None
                candidate = phase is not None and assignment.arm is Arm.CANDIDATE
                if phase is not None and not candidate:
                    # A candidate's bins are its own reference's: comparable with no other pod's.
                    self.recorder.answers.offer(
                        phase, Arm.STABLE, ticket.query.request, outcome.values
                    )
                counted = by_candidate if candidate else answered
                counted.append((ticket.query.request.rows, elapsed * 1000, phase))
                if self._counters.cohorts is not None:
                    predicted_rows.append(
                        PredictedRows(ticket.event_time_us, ticket.query.request.rows, segments)
                    )
        self._counters.count_answers(answered)
        if by_candidate:
            self._counters.count_answers(by_candidate, Arm.CANDIDATE)
        if self._counters.cohorts is not None:
            self._counters.cohorts.count_predicted(predicted_rows)
        self._counters.count_batch(len(tickets), rows)
        all_count = len(answered) + len(by_candidate) == len(tickets)
        if all_count and predicted.columns is not None and predicted.whole is not None:
            joined = InferenceRequest(None, predicted.columns, rows, None, {})
            self.recorder.offer(joined, predicted.whole)
        else:
            self._record_apart(tickets, predicted.outcomes, now)
        for ticket, reply in zip(tickets, replies, strict=True):
            ticket.settle(reply)

    def _finish_one(
        self,
        ticket: Ticket,
        answer: Answer,
        elapsed: float,
        *,
        in_time: bool,
        segments: Sequence[int],
    ) -> Reply:
        """The reply with its receipt; the log has it too where somebody still waits for it."""
        query, assignment = ticket.query, ticket.assignment
        request, model = query.request, self.model
        receipt_id = self._receipts.next_id()
        values = model.predicted(answer.values, request.rows)
        prediction_id = self._receipts.write(
            receipt_id,
            event_time=format_microseconds(ticket.event_time_us),
            rows=request.rows,
            predicted=values,
            side=(assignment.arm, assignment.phase),
            segments=() if values is None else segments,
        )
        if self._log is not None and in_time:
            self._log.offer(
                PredictionEntry(
                    receipt_id,
                    ticket.event_time_us,
                    assignment.arm,
                    assignment.phase,
                    request,
                    answer.score,
                    answer.values,
                )
            )
        return Reply(
            request,
            answer.values,
            prediction_id,
            model.version,
            model.revision,
            elapsed * 1000,
            ticket.close,
        )

    def _record_apart(
        self, tickets: Sequence[Ticket], outcomes: Sequence[Outcome], now: float
    ) -> None:
        """Record those of a batch that count, one by one."""
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            assignment = ticket.assignment
            in_time = _in_time(assignment, now - ticket.query.received_at)
            if isinstance(outcome, Answer) and assignment.live and in_time:
                self.recorder.offer(ticket.query.request, outcome)

    def _count_fault(self, assignment: Assignment, fault: ModelFault) -> None:
        if assignment.live:
            self._counters.count_fault(
                kind=type(fault).__name__,
                invalid=isinstance(fault, InvalidOutput),
                phase=assignment.phase if assignment.owned else None,
                arm=assignment.arm,
            )


def _read_event_time(text: object, now_us: int) -> int:
    if not isinstance(text, str):
        raise RequestRefused("parameters.event_time must be an RFC 3339 time, e.g. in UTC")
    try:
        moment = to_microseconds(parse_time(text))
    except (ValueError, OverflowError) as error:
        raise RequestRefused(f"parameters.event_time: {error}") from error
    if moment > now_us + MOST_AHEAD_US:
        raise RequestRefused(
            f"parameters.event_time is {text[:40]}, more than an hour after this server's clock "
            f"({format_microseconds(now_us)}); send the time that the request is about, in UTC"
        )
    return moment


def _in_time(assignment: Assignment, elapsed: float) -> bool:
    """Whether whoever asked still waits."""
    deadline = assignment.deadline_seconds
    return deadline is None or elapsed <= deadline
