"""The demo's voice: one screen of lines, each with the time since the start."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

RULE = "─" * 98


@dataclass
class Narrator:
    """Prints what happens and keeps how long each phase took, in seconds."""

    out: TextIO = sys.stdout
    started: float = field(default_factory=time.monotonic)
    phases: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])

    def say(self, text: str) -> None:
        """One line, with minutes and seconds since the start."""
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        for line in text.splitlines():
            self.out.write(f"{minutes:02d}:{seconds:02d}  {line}\n")
        self.out.flush()

    def show(self, text: str) -> None:
        """Output of a command, indented, without a time."""
        for line in text.rstrip().splitlines():
            self.out.write(f"       {line}\n")
        self.out.flush()

    @contextmanager
    def phase(self, name: str, title: str) -> Generator[None]:
        """A headed stretch of the story whose time is kept."""
        self.out.write(f"{RULE}\n")
        self.say(title)
        begun = time.monotonic()
        yield
        self.phases.append((name, round(time.monotonic() - begun, 1)))
