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


@dataclass(frozen=True)
class StateSizes:
    """How many numbers a state holds of each sort."""

    components: int
    tracks: int
    events: int
    streams: int
    cells: int
    features: int


@dataclass(frozen=True, eq=False)
class DetectorState:
    """State after some windows.

    Attributes:
        fingerprint: sha256 of the profile that it belongs to.
        windows: number of windows seen.
        evidence: float64 [components], the Shiryaev-Roberts statistics: those of all events by
            alternative, then those of all shapes.
        onset: float64 [tracks], sums of log e-values since `since`: of all events, then of shapes.
        since: int64 [tracks], the window in which a track's change would have begun.
        judged: int64 [streams], how many times each stream was judged.
        since_hits: int64 [events], occurrences since `since_from` of their stream.
        since_rows: int64 [streams], rows since then.
        since_from: int64 [streams], the window from which the change that a stream's best track
            points to is counted.
        pending_cells: int64 [cells], rows collected and not judged yet.
        pending_since: int64 [features], the window of the first of them.
    """

    fingerprint: str
    windows: int
    evidence: FloatArray
    onset: FloatArray
    since: IntArray
    judged: IntArray
    since_hits: IntArray
    since_rows: IntArray
    since_from: IntArray
    pending_cells: IntArray
    pending_since: IntArray

    @classmethod
    def empty(cls, fingerprint: str, sizes: "StateSizes") -> "DetectorState":
        """Returns the state before the first window."""
        return cls(
            fingerprint=fingerprint,
            windows=0,
            evidence=np.zeros(sizes.components),
            onset=np.zeros(sizes.tracks),
            since=np.zeros(sizes.tracks, dtype=np.int64),
            judged=np.zeros(sizes.streams, dtype=np.int64),
            since_hits=np.zeros(sizes.events, dtype=np.int64),
            since_rows=np.zeros(sizes.streams, dtype=np.int64),
            since_from=np.zeros(sizes.streams, dtype=np.int64),
            pending_cells=np.zeros(sizes.cells, dtype=np.int64),
            pending_since=np.zeros(sizes.features, dtype=np.int64),
        )

    @property
    def sizes(self) -> "StateSizes":
        """How many of each it remembers."""
        return StateSizes(
            components=self.evidence.size,
            tracks=self.onset.size,
            events=self.since_hits.size,
            streams=self.judged.size,
            cells=self.pending_cells.size,
            features=self.pending_since.size,
        )

    def to_json(self) -> dict[str, object]:
        """Returns a JSON form without any loss: arrays are base64 of little-endian bytes."""
        document: dict[str, object] = {
            "formatVersion": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            "windows": self.windows,
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
        expected = {
            "since": floats["onset"].size,
            "since_rows": whole["judged"].size,
            "since_from": whole["judged"].size,
        }
        for name, size in expected.items():
            if whole[name].size != size:
                raise read.error(
                    f"state.{_camel(name)} holds {whole[name].size} numbers instead of {size}; "
                    "begin again from the detector's initial state"
                )
        return cls(
            fingerprint=read.text("fingerprint"),
            windows=read.count("windows"),
            evidence=floats["evidence"],
            onset=floats["onset"],
            **whole,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DetectorState):
            return NotImplemented
        return self.to_json() == other.to_json()


_FLOATS = ("evidence", "onset")
_INTEGERS = (
    "since",
    "judged",
    "since_hits",
    "since_rows",
    "since_from",
    "pending_cells",
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
