"""What a detector remembers between windows, as a value that survives a restart exactly."""

import base64
import binascii
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import Fields, FloatArray, IntArray

FORMAT_VERSION = 1
T = TypeVar("T", np.float64, np.int64)


@dataclass(frozen=True, eq=False)
class DetectorState:
    """State after some windows.

    Attributes:
        fingerprint: sha256 of the profile that it belongs to.
        windows: number of windows seen.
        log_r: float64 [events, alternatives], logarithms of the Shiryaev-Roberts statistics.
        onset: float64 [events], sums of log e-values since `since`.
        since: int64 [events], the window in which the event's change would have begun.
        since_hits: int64 [events], occurrences since then.
        since_rows: int64 [events], rows since then.
        pending_rows: int64 [streams], rows collected and not judged yet.
        pending_hits: int64 [events], occurrences among them.
        pending_since: int64 [streams], the window of the first of them.
    """

    fingerprint: str
    windows: int
    log_r: FloatArray
    onset: FloatArray
    since: IntArray
    since_hits: IntArray
    since_rows: IntArray
    pending_rows: IntArray
    pending_hits: IntArray
    pending_since: IntArray

    @classmethod
    def empty(
        cls, *, fingerprint: str, streams: int, events: int, alternatives: int
    ) -> "DetectorState":
        """Returns the state before the first window."""
        per_event = np.zeros(events, dtype=np.int64)
        per_stream = np.zeros(streams, dtype=np.int64)
        return cls(
            fingerprint=fingerprint,
            windows=0,
            log_r=np.full((events, alternatives), -np.inf),
            onset=np.zeros(events),
            since=per_event,
            since_hits=per_event,
            since_rows=per_event,
            pending_rows=per_stream,
            pending_hits=per_event,
            pending_since=per_stream,
        )

    def to_json(self) -> dict[str, object]:
        """Returns a JSON form without any loss: arrays are base64 of little-endian bytes."""
        document: dict[str, object] = {
            "formatVersion": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            "windows": self.windows,
            "alternatives": int(self.log_r.shape[1]),
        }
        for name in (*_FLOATS, *_INTEGERS):
            document[_camel(name)] = _encoded(getattr(self, name))
        return document

    @classmethod
    def from_json(cls, document: object) -> "DetectorState":
        """Reads what `to_json` wrote.

        Raises:
            CountsInvalid: the document is damaged or of another format version: begin again
                from the detector's initial state.
        """
        read = Fields.of(document, "state", CountsInvalid)
        version = read.count("formatVersion")
        if version != FORMAT_VERSION:
            raise read.refuse("formatVersion", version, f"{FORMAT_VERSION}: begin again")
        floats = {name: _decoded(read, name, np.float64) for name in _FLOATS}
        whole = {name: _decoded(read, name, np.int64) for name in _INTEGERS}
        alternatives = read.count("alternatives")
        events, streams = floats["onset"].size, whole["pending_rows"].size
        expected = dict.fromkeys(_INTEGERS, events) | {
            "log_r": events * alternatives,
            "pending_rows": streams,
            "pending_since": streams,
        }
        for name, size in expected.items():
            found = (floats if name in floats else whole)[name].size
            if found != size:
                raise read.error(
                    f"state.{_camel(name)} holds {found} numbers instead of {size}; "
                    "begin again from the detector's initial state"
                )
        return cls(
            fingerprint=read.text("fingerprint"),
            windows=read.count("windows"),
            log_r=floats["log_r"].reshape(events, alternatives),
            onset=floats["onset"],
            **whole,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DetectorState):
            return NotImplemented
        return self.to_json() == other.to_json()


_FLOATS = ("log_r", "onset")
_INTEGERS = (
    "since",
    "since_hits",
    "since_rows",
    "pending_rows",
    "pending_hits",
    "pending_since",
)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def _encoded(array: npt.NDArray[np.generic]) -> str:
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def _decoded(read: Fields, name: str, dtype: type[T]) -> npt.NDArray[T]:
    text = read.text(_camel(name))
    try:
        raw = base64.b64decode(text, validate=True)
        stored = np.frombuffer(raw, dtype=np.dtype(dtype).newbyteorder("<"))
    except (binascii.Error, ValueError) as error:
        raise read.refuse(_camel(name), text, "base64 of whole 8-byte numbers") from error
    return stored.astype(dtype)
