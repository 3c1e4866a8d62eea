"""What all worker processes of a pod see: the route in force, and who has how many connections.

The supervisor writes the route, each worker its own number of connections. The route is guarded by
a sequence that is odd while it is being written (a seqlock): a reader whose sequence changed
meanwhile reads again.
"""

import mmap
import threading
from collections.abc import Callable

import numpy as np

from mooring_serving.arms import Role
from mooring_serving.routing import Route, in_force
from mooring_serving.settings import MOST_WORKERS
from mooring_serving.workers.layout import NAME_BYTES, ROUTE_SEEN
from mooring_serving.workers.memory import IntArray, SlotMemory

_SEQUENCE, _EXPIRES, _ROLE, _WEIGHT, _SHADOW, _DEADLINE = range(6)
_TEXT_CELLS = 1 + NAME_BYTES // 8
"""The length of a text, and its bytes."""
_PHASE, _CANDIDATE, _STABLE, _STICKY = range(6, 6 + 4 * _TEXT_CELLS, _TEXT_CELLS)
_CONNECTIONS = _STICKY + _TEXT_CELLS
BOARD_CELLS = _CONNECTIONS + MOST_WORKERS
_ABSENT = -1
_ROLES = tuple(Role)


class Board:
    """The memory that all processes share.

    Args:
        buffer: `BOARD_CELLS` cells, zero at first.
    """

    def __init__(self, buffer: bytearray | mmap.mmap) -> None:
        raw = memoryview(buffer)[: BOARD_CELLS * 8]
        self.ints = raw.cast("q")
        self._floats = raw.cast("d")
        self._array: IntArray = np.frombuffer(raw, np.int64)
        self._fence = threading.Lock()

    @classmethod
    def shared(cls, descriptor: int) -> "Board":
        """The board behind a descriptor from `create_shared`."""
        return cls(mmap.mmap(descriptor, BOARD_CELLS * 8))

    @property
    def sequence(self) -> int:
        """Rises by 2 with every route."""
        return self.ints[_SEQUENCE]

    def set(self, route: Route, *, expires_at: float) -> None:
        """Replace the route; the supervisor's, one thread at a time.

        Args:
            route: The route.
            expires_at: Monotonic seconds, the same for all processes of a machine.
        """
        sequence = self.ints[_SEQUENCE]
        self.ints[_SEQUENCE] = sequence + 1
        with self._fence:
            self._floats[_EXPIRES] = expires_at
            self.ints[_ROLE] = _ROLES.index(route.role)
            self._floats[_WEIGHT] = route.weight_percent
            self._floats[_SHADOW] = route.shadow_percent
            self._floats[_DEADLINE] = route.deadline_seconds
            self._write_text(_PHASE, route.phase)
            self._write_text(_CANDIDATE, route.candidate_revision)
            self._write_text(_STABLE, route.stable_revision)
            self._write_text(_STICKY, route.sticky_header)
        with self._fence:
            self.ints[_SEQUENCE] = sequence + 2

    def read(self) -> tuple[int, Route, float]:
        """The sequence, the route, and when it expires; (0, …, …) before the first one."""
        while True:
            sequence = self.ints[_SEQUENCE]
            if not sequence:
                return 0, Route(), float("inf")
            with self._fence:
                route = Route(
                    role=_ROLES[self.ints[_ROLE] % len(_ROLES)],
                    phase=self._read_text(_PHASE),
                    candidate_revision=self._read_text(_CANDIDATE),
                    stable_revision=self._read_text(_STABLE),
                    sticky_header=self._read_text(_STICKY),
                    weight_percent=self._floats[_WEIGHT],
                    shadow_percent=self._floats[_SHADOW],
                    deadline_seconds=self._floats[_DEADLINE],
                )
                expires_at = self._floats[_EXPIRES]
            if not sequence & 1 and self.ints[_SEQUENCE] == sequence:
                return sequence, route, expires_at

    def current(self, now: float) -> Route:
        """The route in force at monotonic time `now`."""
        _, route, expires_at = self.read()
        return in_force(route, expires_at, now)

    def publish_connections(self, worker: int, count: int | None) -> None:
        """Say how many connections a worker has; None when it accepts none."""
        self.ints[_CONNECTIONS + worker] = 0 if count is None else count + 1

    def is_crowded(self, count: int) -> bool:
        """Whether a worker that accepts has fewer than `count` connections."""
        others = self._array[_CONNECTIONS:BOARD_CELLS]
        accepting = others[others > 0]
        return bool(accepting.size and int(accepting.min()) - 1 < count)

    def _write_text(self, place: int, text: str | None) -> None:
        encoded = b"" if text is None else text.encode()[:NAME_BYTES]
        cells = self._array[place + 1 : place + _TEXT_CELLS]
        cells[:] = 0
        cells.view("u1")[: len(encoded)] = bytearray(encoded)
        self.ints[place] = _ABSENT if text is None else len(encoded)

    def _read_text(self, place: int) -> str | None:
        size = self.ints[place]
        if size == _ABSENT:
            return None
        raw = self._array[place + 1 : place + _TEXT_CELLS].tobytes()
        return raw[:size].decode(errors="replace")


class SharedRoutes:
    """A worker's view of the route: looked at with every request, read when it changed.

    Args:
        board: What the supervisor writes.
        memory: The worker's slot, which says what it has taken.
    """

    def __init__(self, board: Board, memory: SlotMemory) -> None:
        self._board = board
        self._sequences = board.ints
        self._memory = memory
        self._on_change: Callable[[Route], None] | None = None
        self._seen, self._route, self._expires_at = 0, Route(), float("inf")

    def listen(self, on_change: Callable[[Route], None]) -> None:
        """Call `on_change` with the route now and at each change, where `current` is called."""
        self._on_change = on_change
        self.refresh()

    def current(self, now: float) -> Route:
        """The route in force at monotonic time `now`."""
        if self._sequences[_SEQUENCE] != self._seen:
            self.refresh()
        route = self._route
        if now < self._expires_at:
            return route
        return in_force(route, self._expires_at, now)

    def refresh(self) -> None:
        """Take the route that is on the board."""
        self._seen, self._route, self._expires_at = self._board.read()
        self._memory.ints[ROUTE_SEEN] = self._seen
        if self._on_change is not None:
            self._on_change(self._route)
