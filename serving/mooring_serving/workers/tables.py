"""Entries by name in a slot: a bounded number, of which the oldest makes room.

An entry is valid while its birth is not 0; it is made and freed so that a reader, or the successor
of a worker killed in between, sees all of it or nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mooring_serving.workers.layout import BORN, HEAD, NAME, NAME_BYTES, NAME_LENGTH, Table
from mooring_serving.workers.memory import FloatArray, IntArray, SlotMemory


@dataclass(frozen=True, slots=True)
class Entry:
    """A copy of one entry.

    Attributes:
        name: Its name.
        born: Monotonic nanoseconds of its making.
        ints: Its body as whole numbers.
        floats: The same cells as doubles.
    """

    name: str
    born: int
    ints: IntArray
    floats: FloatArray


class EntryTable:
    """The writer's side of a table; goes on with what the memory holds.

    Args:
        memory: The slot.
        table: Where its entries are.
        monotonic: Monotonic seconds, the same for all processes.
    """

    def __init__(self, memory: SlotMemory, table: Table, *, monotonic: Callable[[], float]) -> None:
        self._memory = memory
        self._table = table
        self._monotonic = monotonic
        known = sorted(_copies(memory, table), key=lambda found: found[1].born)
        self._places = {entry.name: place + HEAD for place, entry in known}

    def place(self, name: str) -> int:
        """First cell of the body of an entry, which is made when there is none.

        Args:
            name: At most `NAME_BYTES` in UTF-8; what is longer is cut.
        """
        found = self._places.get(name)
        return self._make(name) if found is None else found

    def _make(self, name: str) -> int:
        taken = {body - HEAD for body in self._places.values()}
        place = next((place for place in self._table.places() if place not in taken), None)
        if place is None:
            oldest = next(iter(self._places))
            place = self._places.pop(oldest) - HEAD
        ints, array = self._memory.ints, self._memory.int_array
        ints[place + BORN] = 0
        array[place + NAME_LENGTH : place + self._table.size] = 0
        text = name.encode()[:NAME_BYTES]
        array[place + NAME : place + HEAD].view("u1")[: len(text)] = bytearray(text)
        ints[place + NAME_LENGTH] = len(text)
        ints[place + BORN] = max(1, int(self._monotonic() * 1e9))
        self._places[name] = place + HEAD
        return place + HEAD


def read_entries(memory: SlotMemory, table: Table) -> list[Entry]:
    """Copies of all entries; may be called by any process."""
    return [entry for _, entry in _copies(memory, table)]


def _copies(memory: SlotMemory, table: Table) -> list[tuple[int, Entry]]:
    found: list[tuple[int, Entry]] = []
    for place in table.places():
        born = memory.ints[place + BORN]
        if not born:
            continue
        whole = memory.int_array[place : place + table.size].copy()
        if memory.ints[place + BORN] != born:
            continue  # it made room meanwhile
        name = whole[NAME:HEAD].tobytes()[: int(whole[NAME_LENGTH])].decode(errors="replace")
        body = whole[HEAD:]
        found.append((place, Entry(name, born, body, body.view(float))))
    return found
