"""One inference, transport-neutral: decode, predict, count, record, make out the receipt.

REST calls it today; gRPC and binary tensors will call the same methods with the same types.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from mooring_serving.arms import Arm
from mooring_serving.clock import Clock, format_microseconds, parse_time, to_microseconds
from mooring_serving.counters import Counters
from mooring_serving.errors import InvalidOutput, ModelFault, RequestRefused
from mooring_serving.limits import TensorLimits
from mooring_serving.log.segments import SegmentedLog
from mooring_serving.log.tables import PredictionEntry
from mooring_serving.protocol.codec import decode_request, encode_answer
from mooring_serving.protocol.messages import InferenceRequest
from mooring_serving.receipts import Receipt, build_receipt
from mooring_serving.recorder import Recorder
from mooring_serving.served import Answer, ServedModel
from mooring_serving.settings import EventTime

EVENT_TIME = "event_time"


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which side of which comparison a prediction of our own model belongs to.

    Attributes:
        arm: The arm, as receipt and log say it.
        phase: The phase, as receipt and log say it.
        owned: Whether this pod owns the outcome and counts it for the stable arm. False for what
            others forwarded to us (they count it) and for a fallback (it was the candidate's).
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
class Finished:
    """An encoded answer, with the time that it took inside this server (milliseconds)."""

    body: bytes
    server_ms: float


def random_id() -> str:
    """16 random hex digits."""
    return os.urandom(8).hex()


@dataclass(frozen=True, slots=True)
class ReceiptRules:
    """How receipts are made.

    Attributes:
        key: Authenticates them; None leaves them unauthenticated.
        event_time: Whether requests may say which time they are about.
        new_id: Makes 16 random hex digits.
    """

    key: bytes | None
    event_time: EventTime
    new_id: Callable[[], str] = random_id


class Dataplane:
    """The path of a request through the model and its duties.

    Args:
        model: The served model.
        counters: The pod's counters.
        recorder: Counts features and scores.
        log: The prediction log, or None.
        rules: How receipts are made.
        clock: Time.
    """

    def __init__(
        self,
        model: ServedModel,
        counters: Counters,
        recorder: Recorder,
        log: SegmentedLog[PredictionEntry] | None,
        *,
        rules: ReceiptRules,
        clock: Clock,
    ) -> None:
        self.model = model
        self._counters = counters
        self._recorder = recorder
        self._log = log
        self._rules = rules
        self._clock = clock

    def decode(self, body: bytes, limits: TensorLimits) -> tuple[InferenceRequest, int]:
        """A request and its event time in microseconds since the epoch.

        Raises:
            RequestRefused: What is wrong with it.
        """
        request = decode_request(body, self.model.signature, limits)
        return request, self._event_time(request)

    def predict(self, request: InferenceRequest, assignment: Assignment) -> Answer:
        """Predict with our own model; a fault is counted before it is raised.

        Raises:
            ModelFault: The model failed.
        """
        try:
            return self.model.predict(request)
        except ModelFault as fault:
            if assignment.live:
                self._counters.count_fault(
                    kind=type(fault).__name__,
                    invalid=isinstance(fault, InvalidOutput),
                    phase=assignment.phase if assignment.owned else None,
                )
            raise

    def finish(
        self,
        request: InferenceRequest,
        answer: Answer,
        assignment: Assignment,
        *,
        event_time_us: int,
        received_at: float,
    ) -> Finished:
        """Count, record, log and encode an answer.

        Args:
            request: The request.
            answer: Our model's answer.
            assignment: What it belongs to.
            event_time_us: The time that it is about, in microseconds since the epoch.
            received_at: Monotonic seconds at which the request was complete.
        """
        receipt_id = self._rules.new_id()
        model = self.model
        receipt = Receipt(
            id=receipt_id,
            model=model.name,
            version=model.version,
            revision=model.revision,
            event_time=format_microseconds(event_time_us),
            rows=request.rows,
            predicted=answer.predicted,
            phase=assignment.phase,
            arm=assignment.arm,
        )
        body = encode_answer(
            request,
            model.signature,
            answer.values,
            model=(model.name, model.version),
            prediction_id=build_receipt(receipt, self._rules.key),
        )
        elapsed = self._clock.monotonic() - received_at
        deadline = assignment.deadline_seconds
        if deadline is None or elapsed <= deadline:
            if assignment.live:
                self._counters.count_answer(
                    rows=request.rows,
                    milliseconds=elapsed * 1000,
                    phase=assignment.phase if assignment.owned else None,
                )
                self._recorder.offer(request, answer.score)
            if self._log is not None:
                self._log.offer(
                    PredictionEntry(
                        receipt_id,
                        event_time_us,
                        assignment.arm,
                        assignment.phase,
                        request,
                        answer.score,
                    )
                )
        return Finished(body, elapsed * 1000)

    def _event_time(self, request: InferenceRequest) -> int:
        if self._rules.event_time is EventTime.REQUEST:
            text = request.parameters.get(EVENT_TIME)
            if text is not None:
                try:
                    if isinstance(text, str):
                        return to_microseconds(parse_time(text))
                except ValueError as error:
                    raise RequestRefused(f"parameters.event_time: {error}") from error
                raise RequestRefused("parameters.event_time must be an RFC 3339 time, e.g. in UTC")
        return int(self._clock.wall() * 1_000_000)
