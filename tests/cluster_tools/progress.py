"""Progress lines with elapsed time; nothing else of the cluster tools prints while working."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(frozen=True)
class Progress:
    """Tells a person what is happening, with the seconds since the start of the command."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    started: float = field(default_factory=time.monotonic)

    def say(self, message: str) -> None:
        """Print one line, e.g. `  12.3s  node Ready`."""
        elapsed = time.monotonic() - self.started
        self.stream.write(f"{elapsed:7.1f}s  {message}\n")
        self.stream.flush()

    @contextmanager
    def step(self, message: str) -> Generator[None]:
        """Say what begins, and when it has ended how many seconds it took."""
        self.say(f"{message} ...")
        began = time.monotonic()
        yield
        self.say(f"{message}: {time.monotonic() - began:.1f} s")
