"""Closed segments to the store, in order, on one thread for all streams of a process.

A store that is away is tried again with growing pauses; segments wait on the pod's disk meanwhile,
and the journals stop growing at their limit.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mooring_serving.log.parquet import write_segment
from mooring_serving.log.retention import BUSY_SECONDS, SWEEP_SECONDS, Retention
from mooring_serving.log.spool import Segment, Spool, SpoolTaken
from mooring_serving.log.store import SegmentStore

_LOG = logging.getLogger(__name__)

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
"""Between tries of a store that does not answer."""
_STRAY_SECONDS = 10.0
"""After the start: by then each worker that comes again has taken its own spools."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The other processes of the pod that log.

    Attributes:
        root: Where all their spools are.
        workers: How many there are, this one included; spools of higher numbers are strays.
    """

    root: Path
    workers: int


class Shipper:
    """See the module.

    Args:
        store: Where segments go.
        place: `<namespace>/<deployment>`.
        pod: The pod's uid.
        spools: The process' own; what they inherited is shipped first.
        neighbours: Spools of workers that do not come again are taken over from among theirs.
            None: nothing is taken over.
        retentions: What is deleted, one for each stream.
        now: The wall clock.
    """

    def __init__(  # noqa: PLR0913 - one thread's parts
        self,
        store: SegmentStore,
        *,
        place: str,
        pod: str,
        spools: Sequence[Spool],
        neighbours: Neighbours | None,
        retentions: Sequence[Retention],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._place = place
        self._pod = pod
        self.spools = list(spools)
        self._neighbours = neighbours
        self._retentions = retentions
        self._now = now
        self._queue: deque[tuple[Spool, Segment]] = deque()
        self._condition = threading.Condition()
        self._stopping = False
        self._sweep_in = _STRAY_SECONDS
        self._thread = threading.Thread(target=self._run, name="log shipper", daemon=True)
        for spool in spools:
            self._queue.extend((spool, segment) for segment in spool.inherited)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take(self, spool: Spool, segment: Segment) -> None:
        """Ship a segment; called by the logs' threads."""
        with self._condition:
            self._queue.append((spool, segment))
            self._condition.notify()

    def sweep(self) -> float:
        """Take over what nobody owns, delete what is too old; returns seconds to the next sweep."""
        self._adopt_strays()
        busy = False
        for retention in self._retentions:
            try:
                busy |= retention.sweep(self._now())[1]
            except OSError as error:
                _LOG.warning("retention of %s: %s", retention.prefix, error)
        return BUSY_SECONDS if busy else SWEEP_SECONDS

    def stop(self, seconds: float) -> None:
        """Ship what waits, in at most `seconds`; each segment is tried once more."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join(seconds)

    # --- the thread

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._condition:
                self._condition.wait_for(
                    lambda: bool(self._queue) or self._stopping, self._sweep_in
                )
                head = self._queue[0] if self._queue else None
                if head is None and self._stopping:
                    return
            if head is None:
                self._sweep_in = self.sweep()
            elif self._ship(*head):
                self._queue.popleft()
                pause = _FIRST_PAUSE
            else:
                with self._condition:
                    if self._stopping:
                        return
                    self._condition.wait_for(lambda: self._stopping, pause)
                pause = min(_LONGEST_PAUSE, pause * 2)

    def _ship(self, spool: Spool, segment: Segment) -> bool:
        """Whether the segment needs no further try."""
        stream, _, worker = spool.name.rpartition("-")
        name = f"{self._pod}-{worker}-{segment.number}.parquet"
        path = f"{self._place}/{stream}/date={segment.date}/{name}"
        try:
            self._store.put(path, spool.seal(segment, write_segment))
            spool.ship(segment)
        except OSError as error:
            _LOG.warning("cannot write %s (%d rows): %s", path, segment.rows, error)
            return False
        except ValueError as error:
            _LOG.error("segment %s is unusable, %d rows dropped: %s", path, segment.rows, error)
            spool.discard(segment)
        return True

    def _adopt_strays(self) -> None:
        """Take over from workers that the pod had before its container started with fewer.

        Never from one that was killed just now: it comes again, and would wait for its own spool.
        """
        neighbours = self._neighbours
        if neighbours is None:
            return
        own = {spool.name for spool in self.spools}
        for folder in sorted(neighbours.root.iterdir()):
            number = folder.name.rpartition("-")[2]
            strays = number.isdigit() and int(number) >= neighbours.workers
            if not strays or folder.name in own or not (folder / "lock").exists():
                continue
            try:
                spool = Spool(folder, wait=False)
            except (SpoolTaken, OSError):
                continue  # its worker lives
            self.spools.append(spool)
            with self._condition:
                self._queue.extend((spool, segment) for segment in spool.inherited)
