"""The memory of one slot: shared between a worker and its supervisor, or a process' own.

A reader never waits for the writer and the writer never for a reader. What consists of many cells
and must be seen whole (the sketches) is written to the place that nobody reads and then published
by one store, so that a worker killed at any moment leaves a whole one behind.
"""

import mmap
import os
import threading

import numpy as np
import numpy.typing as npt

from mooring_serving.workers.layout import SketchLayout, SlotLayout

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_CELL = 8


class SlotMemory:
    """Views of a slot.

    Attributes:
        layout: What is where.
        ints: Its cells as whole numbers: item assignment costs 60 ns, less than numpy's.
        floats: The same cells as doubles.
        int_array: The same cells for numpy.
        float_array: The same cells as doubles for numpy.
    """

    def __init__(self, layout: SlotLayout, buffer: bytearray | mmap.mmap) -> None:
        raw = memoryview(buffer)[: layout.cells * _CELL]
        self.layout = layout
        self.ints = raw.cast("q")
        self.floats = raw.cast("d")
        self.int_array: IntArray = np.frombuffer(raw, np.int64)
        self.float_array: FloatArray = np.frombuffer(raw, np.float64)

    @classmethod
    def own(cls, layout: SlotLayout) -> "SlotMemory":
        """Memory of this process alone."""
        return cls(layout, bytearray(layout.cells * _CELL))

    @classmethod
    def shared(cls, layout: SlotLayout, descriptor: int) -> "SlotMemory":
        """Memory behind a descriptor from `create_shared`."""
        return cls(layout, mmap.mmap(descriptor, layout.cells * _CELL))


class SketchMemory:
    """A worker's sketches, always whole.

    Args:
        layout: How many cells there are.
        buffer: `layout.cells` cells, zero or a predecessor's.
    """

    def __init__(self, layout: SketchLayout, buffer: bytearray | mmap.mmap) -> None:
        raw = memoryview(buffer)[: layout.cells * _CELL]
        self._layout = layout
        self._sequence = raw.cast("q")
        self._array: IntArray = np.frombuffer(raw, np.int64)
        self._fence = threading.Lock()

    @classmethod
    def own(cls, layout: SketchLayout) -> "SketchMemory":
        """Memory of this process alone."""
        return cls(layout, bytearray(layout.cells * _CELL))

    @classmethod
    def shared(cls, layout: SketchLayout, descriptor: int) -> "SketchMemory":
        """Memory behind a descriptor from `create_shared`."""
        return cls(layout, mmap.mmap(descriptor, layout.cells * _CELL))

    def publish(self, cells: IntArray, rows: int) -> None:
        """Make these the sketches.

        Args:
            cells: All cells, int64 [sketch].
            rows: Rows counted in them.
        """
        sequence = self._sequence[0] + 1
        bank = self._array[self._layout.bank(sequence & 1).slice()]
        bank[0] = rows
        bank[1:] = cells
        with self._fence:  # a barrier: the bank is complete before it is published
            self._sequence[0] = sequence

    def read(self) -> tuple[int, IntArray]:
        """Rows counted and a copy of all cells, both of the same moment."""
        while True:
            sequence = self._sequence[0]
            bank = self._array[self._layout.bank(sequence & 1).slice()].copy()
            with self._fence:
                # The bank is written again only after the other one was published.
                if self._sequence[0] == sequence:
                    return int(bank[0]), bank[1:]

    @property
    def rows(self) -> int:
        """Rows counted."""
        return self.read()[0]


def create_shared(cells: int, name: str) -> int:
    """A descriptor of anonymous shared memory of so many cells, all zero.

    Raises:
        OSError: The kernel gives none.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.ftruncate(descriptor, cells * _CELL)
    return descriptor
