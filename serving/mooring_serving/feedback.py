"""Labels that come later: receipts checked, losses counted, labels logged.

The first label of a receipt wins; a pod remembers the receipts that it has seen, a bounded number.
"""

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mooring_serving.arms import Arm
from mooring_serving.clock import Clock, parse_time, to_microseconds
from mooring_serving.cohorts import MOST_AHEAD_US, LabelledRow
from mooring_serving.counters import Counters
from mooring_serving.errors import RequestRefused
from mooring_serving.log.segments import SegmentedLog
from mooring_serving.log.tables import LabelEntry
from mooring_serving.losses import Label, LabelInvalid, LossRule, Task
from mooring_serving.protocol.tensors import is_list, is_object
from mooring_serving.receipts import Receipt, ReceiptInvalid, parse_receipt
from mooring_serving.workers.layout import CohortCell

LABELS_PER_SECOND = 5_000.0
"""Labels that a pod takes in the long run: labels steer rollback, so nobody may flood it."""
LABELS_AT_ONCE = 20_000.0
"""And in a burst."""


@dataclass(slots=True)
class TokenBucket:
    """A rate limit with a burst.

    Attributes:
        rate: Tokens a second.
        size: Tokens at most.
        tokens: Tokens now.
        filled_at: Monotonic seconds of the last refill.
    """

    rate: float
    size: float
    tokens: float
    filled_at: float

    def take(self, count: int, now: float) -> bool:
        """Take `count` tokens if there are as many."""
        self.tokens = min(self.size, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < count:
            return False
        self.tokens -= count
        return True


class FeedbackDesk:
    """Takes labels.

    Args:
        rule: How labels are compared with predictions.
        counters: Where losses go.
        log: The label log, or None.
        model: The model's name; receipts of another are refused.
        key: The receipts' key, or None.
        memory: Receipts remembered as labelled.
    """

    def __init__(
        self,
        rule: LossRule,
        counters: Counters,
        log: SegmentedLog[LabelEntry] | None,
        *,
        model: str,
        key: bytes | None,
        memory: int,
    ) -> None:
        self._rule = rule
        self._counters = counters
        self._log = log
        self._model = model
        self._key = key
        self._memory = memory
        self._seen: dict[str, None] = {}
        self._lock = threading.Lock()

    def accept(
        self,
        document: Mapping[str, object],
        *,
        limit: int,
        now: datetime,
        admit: Callable[[int], bool],
    ) -> dict[str, object]:
        """Take a feedback request's labels.

        Args:
            document: The request's body.
            limit: Most labels of a request.
            now: Wall clock, the time of labels that carry none.
            admit: Whether so many labels may be taken now.

        Returns:
            `{"accepted", "duplicate", "rejected": [{"index", "error"}]}`.

        Raises:
            RequestRefused: The body has no list of labels (400), or too many come (429).
        """
        labels = document.get("labels")
        if not is_list(labels) or not labels:
            raise RequestRefused("labels must be a list of at least one label")
        if len(labels) > limit:
            raise RequestRefused(f"labels has {len(labels)} entries, at most {limit} a request")
        if not admit(len(labels)):
            raise RequestRefused(
                f"more than {LABELS_PER_SECOND:.0f} labels a second; send them more slowly",
                status=429,
                retry_after=1,
            )
        accepted = duplicate = 0
        rejected: list[dict[str, object]] = []
        for index, item in enumerate(labels):
            try:
                if self._take(item, now):
                    accepted += 1
                else:
                    duplicate += 1
            except (ReceiptInvalid, LabelInvalid) as error:
                self._counters.count_label_rejected()
                rejected.append({"index": index, "error": str(error)})
        return {"accepted": accepted, "duplicate": duplicate, "rejected": rejected}

    def _take(self, item: object, now: datetime) -> bool:
        """Count one label; False when the receipt has one already."""
        if not is_object(item):
            raise LabelInvalid("a label is an object with prediction_id and label")
        text = item.get("prediction_id")
        if not isinstance(text, str):
            raise ReceiptInvalid("prediction_id must be a string")
        receipt = parse_receipt(text, self._key)
        if receipt.model != self._model:
            raise ReceiptInvalid(f"prediction_id is of the model {receipt.model!r}")
        labels = self._read_labels(item.get("label"), receipt.rows)
        moment = _read_time(item.get("label_time"), now)
        rows = self._judged(receipt, labels)
        cohorts = self._counters.cohorts
        event_time_us = 0 if cohorts is None else _read_event_time(receipt, to_microseconds(now))
        if not self._remember(receipt.id):
            self._counters.count_label_duplicate()
            return False
        self._counters.count_label([row.loss for row in rows], phase=receipt.phase, arm=receipt.arm)
        self._counters.sample_label(receipt.id)
        if cohorts is not None and receipt.arm is not Arm.SHADOW:
            cohorts.count_labelled(
                receipt.revision, event_time_us, rows, now_us=to_microseconds(now)
            )
        if self._log is not None:
            self._log.offer(LabelEntry(receipt.id, labels, moment))
        return True

    def _read_labels(self, value: object, rows: int) -> Sequence[Label | None]:
        values = value if is_list(value) else [value]
        if len(values) != rows:
            raise LabelInvalid(f"label has {len(values)} values, the prediction has {rows} rows")
        labels = [None if item is None else self._rule.check(item) for item in values]
        if all(label is None for label in labels):
            raise LabelInvalid("label is missing")
        return labels

    def _judged(self, receipt: Receipt, labels: Sequence[Label | None]) -> list[LabelledRow]:
        """The rows that have a label and a prediction to compare it with."""
        if receipt.predicted is None:
            return []
        rows: list[LabelledRow] = []
        segments = receipt.segments or (0,) * receipt.rows
        for label, predicted, parts in zip(labels, receipt.predicted, segments, strict=True):
            self._check_predicted(predicted)
            if label is not None:
                loss = self._rule.loss(label, predicted)
                rows.append(LabelledRow(loss, self._decided(label, predicted), parts))
        return rows

    def _decided(self, label: Label, predicted: float | Sequence[float]) -> CohortCell | None:
        """What a binary model decided, against what came true."""
        if self._rule.task is not Task.BINARY or isinstance(predicted, Sequence):
            return None
        true = label == self._rule.positive
        if predicted >= self._rule.threshold:
            return CohortCell.TP if true else CohortCell.FP
        return CohortCell.FN if true else CohortCell.TN

    def _check_predicted(self, predicted: float | Sequence[float]) -> None:
        """An unauthenticated receipt may claim anything; it must at least be a prediction."""
        values = predicted if isinstance(predicted, Sequence) else (predicted,)
        wanted = len(self._rule.classes) if self._rule.task is Task.MULTICLASS else None
        if (len(values) if isinstance(predicted, Sequence) else None) != wanted:
            raise ReceiptInvalid("prediction_id does not hold a prediction of this model")
        if self._rule.task is not Task.REGRESSION and not all(0 <= v <= 1 for v in values):
            raise ReceiptInvalid("prediction_id holds a probability outside 0 and 1")

    def _remember(self, receipt_id: str) -> bool:
        with self._lock:
            if receipt_id in self._seen:
                return False
            if len(self._seen) >= self._memory:
                del self._seen[next(iter(self._seen))]
            self._seen[receipt_id] = None
            return True


class Feedback(Protocol):
    """Where the labels of a request go."""

    def take(
        self, document: Mapping[str, object]
    ) -> Mapping[str, object] | Awaitable[Mapping[str, object]]:
        """Take a request's labels; see `FeedbackDesk.accept`."""
        ...


class FeedbackIntake:
    """The desk of this process, with the pod's limits.

    Args:
        desk: Judges labels.
        limit: Most labels of a request.
        clock: Time.
    """

    def __init__(self, desk: FeedbackDesk, *, limit: int, clock: Clock) -> None:
        self._desk = desk
        self._limit = limit
        self._clock = clock
        self._bucket = TokenBucket(
            LABELS_PER_SECOND, LABELS_AT_ONCE, LABELS_AT_ONCE, clock.monotonic()
        )

    def take(self, document: Mapping[str, object]) -> Mapping[str, object]:
        """Take a request's labels; see `FeedbackDesk.accept`.

        Raises:
            RequestRefused: The body has no list of labels (400), or too many come (429).
        """
        return self._desk.accept(
            document,
            limit=self._limit,
            now=self._clock.now(),
            admit=lambda count: self._bucket.take(count, self._clock.monotonic()),
        )


def _read_event_time(receipt: Receipt, now_us: int) -> int:
    """Microseconds since the epoch; an unauthenticated receipt may say anything."""
    try:
        moment = to_microseconds(parse_time(receipt.event_time))
    except (ValueError, OverflowError) as error:
        raise ReceiptInvalid("prediction_id holds no time; send it as the answer carried it") from (
            error
        )
    if moment > now_us + MOST_AHEAD_US:
        raise ReceiptInvalid(
            f"prediction_id is of {receipt.event_time}, more than an hour after this pod's clock; "
            "send it as the answer carried it"
        )
    return moment


def _read_time(value: object, now: datetime) -> datetime:
    if value is None:
        return now
    try:
        if isinstance(value, str):
            return parse_time(value)
    except ValueError as error:
        raise LabelInvalid(f"label_time: {error}") from error
    raise LabelInvalid("label_time must be an RFC 3339 time in UTC")
