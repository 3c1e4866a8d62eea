"""The mutants of the rollout rooms, as cosmic-ray knows them, and a sample that is even by room.

Two sorts are left out, since they say nothing of our tests: `X | None` in annotations with another
operator (every import fails), and `is` against `==` on enums and None (nothing changes).
"""

from __future__ import annotations

import difflib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

HOME = Path("build/mutation")
ROOM = "operator/mooring_operator/core/rollout"
_LEFT_OUT = (
    "operator_name LIKE '%BitOr%' OR operator_name LIKE '%Is_Eq'"
    " OR operator_name LIKE '%Eq_Is' OR operator_name LIKE '%IsNot_NotEq'"
    " OR operator_name LIKE '%NotEq_IsNot'"
)


@dataclass(frozen=True)
class Mutant:
    """One change of one line.

    Attributes:
        path: the module, below the tree.
        operator: cosmic-ray's name for the change.
        occurrence: which of the places where it could be made in the module.
        row: where, from 1.
    """

    path: str
    operator: str
    occurrence: int
    row: int

    @property
    def room(self) -> str:
        """The module's name."""
        return Path(self.path).stem

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.room}.py:{self.row}"

    @contextmanager
    def applied(self, tree: Path) -> Generator[str]:
        """The tree has the change meanwhile; gives what it is, as a diff."""
        module = tree / self.path
        before = module.read_text()
        try:
            _run(tree, "apply", self.path, self.operator, str(self.occurrence))
            lines = difflib.unified_diff(
                before.splitlines(), module.read_text().splitlines(), n=1, lineterm=""
            )
            yield "\n".join(list(lines)[2:])
        finally:
            module.write_text(before)


def copied_tree() -> Path:
    """A fresh copy of the code and its tests."""
    shutil.rmtree(HOME, ignore_errors=True)
    tree = (HOME / "tree").absolute()
    for name in ("operator", "serving", "tests"):
        shutil.copytree(name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy("pyproject.toml", tree)
    return tree


def all_mutants(tree: Path) -> list[Mutant]:
    """All of them, by place."""
    (tree / "session.toml").write_text(
        f'[cosmic-ray]\nmodule-path = "{ROOM}"\ntimeout = 1.0\nexcluded-modules = []\n'
        'test-command = "false"\n\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    _run(tree, "init", "session.toml", "session.sqlite")
    query = (
        "SELECT module_path, operator_name, occurrence, start_pos_row FROM mutation_specs"  # noqa: S608
        f" WHERE NOT ({_LEFT_OUT}) ORDER BY module_path, start_pos_row, start_pos_col,"
        " operator_name, occurrence"
    )
    with closing(sqlite3.connect(tree / "session.sqlite")) as database:
        return [Mutant(*row) for row in database.execute(query)]


def drawn_evenly(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """So many mutants, one of each room in turn: any beginning of the sample is even, too.

    Args:
        mutants: all.
        count: how many are drawn; fewer where there are not so many.
        seed: the same one draws the same sample.
    """
    chance = random.Random(seed)  # noqa: S311
    rooms: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        rooms.setdefault(mutant.room, []).append(mutant)
    for room in rooms.values():
        chance.shuffle(room)
    drawn: list[Mutant] = []
    while len(drawn) < count and any(rooms.values()):
        turn = [room.pop() for room in rooms.values() if room]
        chance.shuffle(turn)
        drawn.extend(turn)
    return drawn[:count]


def environment(tree: Path) -> dict[str, str]:
    """The copy's own code, and not the one that is installed in the environment."""
    path = os.pathsep.join(str(tree / name) for name in ("", "operator", "serving"))
    return os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _run(tree: Path, *arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("cosmic-ray")), *arguments]
    subprocess.run(command, cwd=tree, env=environment(tree), check=True)
