"""Prediction receipts: self-contained, so that a label sent days later needs no lookup. Pure."""

import base64
import binascii
import hmac
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from mooring_serving.arms import Arm
from mooring_serving.protocol.tensors import is_list, is_object
from mooring_serving.row_segments import LIMIT

MAX_ROWS = 64
"""A request of more rows gets a receipt without predicted values."""

MAX_VALUES = 1024
"""Neither does one of more predicted values (many classes): the receipt must stay small."""

MAX_LENGTH = 65_536
"""Characters of a receipt that are read at all."""

_UNAUTHENTICATED = "-"
_UNAUTHENTICATED_END = f".{_UNAUTHENTICATED}"
_IDS_AT_ONCE = 256
_DIGITS = set("0123456789abcdef")
_PIECES = 128
"""Arms and phases whose constant parts are remembered."""

Predicted: TypeAlias = Sequence[float] | Sequence[Sequence[float]]


class ReceiptInvalid(ValueError):
    """A receipt that was not made by this deployment, or was changed."""


@dataclass(slots=True)
class Receipt:
    """What a prediction's receipt says. Not frozen: one a request, and freezing costs 2 µs.

    Attributes:
        id: 16 hex digits.
        model: Model name; a receipt of another model is refused.
        version: Version that predicted.
        revision: Revision that predicted.
        event_time: RFC 3339 text, the time that the prediction is about.
        rows: Rows of the request.
        predicted: The predicted values, None when the request was too large.
        phase: Phase of analysis, or None.
        arm: Which side of it predicted.
        segments: For each row the segments of the revision's profile that it is in
            (`row_segments`); empty where none were said.
    """

    id: str
    model: str
    version: str
    revision: str
    event_time: str
    rows: int
    predicted: Predicted | None
    phase: str | None
    arm: Arm
    segments: Sequence[int] = ()


def carries_values(rows: int, width: int) -> bool:
    """Whether a receipt of `rows` rows of `width` predicted values carries them."""
    return rows <= MAX_ROWS and rows * width <= MAX_VALUES


class ReceiptWriter:
    """Writes receipts of one revision: URL-safe base64 of canonical JSON, a point, a tag.

    What is the same in every receipt of an arm and phase is written once.

    Args:
        model: Model name.
        version: Name of the version.
        revision: Content hash of the revision.
        key: Authenticates the receipts (HMAC-SHA256); None leaves them unauthenticated.
    """

    def __init__(self, model: str, version: str, revision: str, *, key: bytes | None) -> None:
        self._key = key
        self._model = b',"m":' + orjson.dumps(model) + b',"n":'
        self._version = b'","v":' + orjson.dumps(version) + b"}"
        self._revision = b',"r":' + orjson.dumps(revision)
        self._pieces: dict[tuple[Arm, str | None], tuple[bytes, bytes]] = {}
        self._ids: list[str] = []

    def next_id(self) -> str:
        """16 random hex digits, drawn from the system in blocks."""
        if not self._ids:
            block = os.urandom(8 * _IDS_AT_ONCE).hex()
            self._ids = [block[at : at + 16] for at in range(0, len(block), 16)]
        return self._ids.pop()

    def write(
        self,
        receipt_id: str,
        *,
        event_time: str,
        rows: int,
        predicted: Predicted | None,
        side: tuple[Arm, str | None],
        segments: Sequence[int] = (),
    ) -> str:
        """A receipt's text.

        Args:
            receipt_id: 16 hex digits.
            event_time: RFC 3339 text.
            rows: Rows of the request.
            predicted: The predicted values, None when the request was too large.
            side: Arm and phase.
            segments: A number a row; nothing is said where the rows are in none.
        """
        pieces = self._pieces.get(side)
        if pieces is None:
            pieces = self._make_pieces(*side)
        values = b"" if predicted is None else b',"p":' + orjson.dumps(predicted)
        parts = b',"s":' + orjson.dumps(segments) if any(segments) else b""
        document = b"".join(
            (
                pieces[0],
                receipt_id.encode(),
                b'"',
                self._model,
                b"%d" % rows,
                values,
                pieces[1],
                parts,
                b',"t":"',
                event_time.encode(),
                self._version,
            )
        )
        encoded = base64.urlsafe_b64encode(document)
        if self._key is None:
            return encoded.decode() + _UNAUTHENTICATED_END
        return f"{encoded.decode()}.{_tag(encoded, self._key)}"

    def _make_pieces(self, arm: Arm, phase: str | None) -> tuple[bytes, bytes]:
        if len(self._pieces) >= _PIECES:
            self._pieces.clear()
        before = b'{"a":' + orjson.dumps(arm.value) + b',"i":"'
        after = b',"ph":' + orjson.dumps(phase) + self._revision
        self._pieces[arm, phase] = pieces = (before, after)
        return pieces


def parse_receipt(text: str, key: bytes | None) -> Receipt:
    """Read a receipt.

    Args:
        text: As the answer carried it.
        key: The receipts' key; None accepts every receipt that is well-formed.

    Raises:
        ReceiptInvalid: Malformed, or its tag does not fit.
    """
    if len(text) > MAX_LENGTH:
        raise ReceiptInvalid("prediction_id is too long")
    encoded, _, tag = text.rpartition(".")
    raw = encoded.encode()
    if key is not None and not hmac.compare_digest(tag.encode(), _tag(raw, key).encode()):
        raise ReceiptInvalid("prediction_id is not authentic; send it as the answer carried it")
    try:
        document: object = orjson.loads(base64.urlsafe_b64decode(raw))
        return _read(document)
    except (binascii.Error, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ReceiptInvalid("prediction_id is malformed; send it as the answer carried it") from (
            error
        )


def receipt_id(text: str) -> str:
    """The id of a receipt that was just written, or the text itself when it is none."""
    try:
        return parse_receipt(text, None).id
    except ReceiptInvalid:
        return text[:MAX_LENGTH]


def _tag(encoded: bytes, key: bytes | None) -> str:
    if key is None:
        return _UNAUTHENTICATED
    digest = hmac.digest(key, encoded, "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _read(fields: object) -> Receipt:
    if not is_object(fields):
        raise TypeError("not an object")
    rows = fields["n"]
    phase = fields["ph"]
    if type(rows) is not int or rows < 1 or not (phase is None or _is_phase(phase)):
        raise ValueError("rows or phase")
    return Receipt(
        id=_hex(fields["i"]),
        model=_text(fields["m"], 253),
        version=_text(fields["v"], 253),
        revision=_text(fields["r"], 63),
        event_time=_text(fields["t"], 64),
        rows=rows,
        predicted=_predicted(fields["p"], rows) if "p" in fields else None,
        phase=phase if isinstance(phase, str) else None,
        arm=Arm(_text(fields["a"], 16)),
        segments=_segments(fields["s"], rows) if "s" in fields else (),
    )


def _hex(value: object) -> str:
    text = _text(value, 16)
    if len(text) != 16 or set(text) - _DIGITS:
        raise ValueError("id")
    return text


def _is_phase(value: object) -> bool:
    """Whether a value has the form `<revision>/<step>`."""
    if not isinstance(value, str) or len(value) > 96:
        return False
    revision, _, step = value.partition("/")
    return bool(revision) and step.isascii() and step.isdigit()


def _text(value: object, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise ValueError("text")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("number")
    return float(value)


def _predicted(value: object, rows: int) -> Predicted:
    if not is_list(value) or len(value) != rows or not carries_values(rows, 1):
        raise ValueError("predicted values")
    if is_list(value[0]):
        return [_row(item) for item in value]
    return [_number(item) for item in value]


def _segments(value: object, rows: int) -> list[int]:
    if not is_list(value) or len(value) != rows:
        raise ValueError("segments")
    found = [item for item in value if type(item) is int and 0 <= item < LIMIT]
    if len(found) != rows:
        raise ValueError("segments")
    return found


def _row(value: object) -> list[float]:
    if not is_list(value) or len(value) > MAX_VALUES:
        raise ValueError("predicted row")
    return [_number(item) for item in value]
