"""Finds watch streams that went blind: open, without an error, and without events.

A list shows the newest version of each object. Whatever it shows, the watch must have told or
must tell soon; a stream that still owes it after a while, confirmed by another list, is blind.
Silence alone proves nothing: a quiet cluster has no events.
"""

from dataclasses import dataclass

from mooring_operator.core.decision import Manifest
from mooring_operator.reconcile.cache import version_of


@dataclass(frozen=True)
class _Debt:
    since: float
    """When a list first showed it, on the monotonic clock."""
    confirmed: float
    """When a list showed it last."""


class Streams:
    """What each kind's stream has told, and what it owes."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._owed: dict[str, _Debt] = {}
        self._wanted: dict[str, int] = {}

    def begun(self, kind: str, version: int) -> None:
        """A watch was begun that tells everything after this version, and nothing of before."""
        self._reached(kind, version)

    def heard(self, kind: str, manifest: Manifest) -> None:
        """A watch event came in."""
        self._reached(kind, version_of(manifest))

    def _reached(self, kind: str, version: int) -> None:
        self._newest[kind] = max(self._newest.get(kind, 0), version)
        if self._newest[kind] >= self._wanted.get(kind, 0):
            self._owed.pop(kind, None)

    def shown(self, kind: str, newest: int, now: float) -> None:
        """A complete list came in; `newest` is the highest version in it, 0 of an empty one."""
        self._wanted[kind] = newest
        if newest <= self._newest.get(kind, 0):
            self._owed.pop(kind, None)
            return
        before = self._owed.get(kind)
        self._owed[kind] = _Debt(before.since if before else now, now)

    def suspects(self, now: float, patience: float) -> tuple[str, ...]:
        """Kinds that owe something for longer than `patience` seconds: list them again."""
        return tuple(sorted(k for k, debt in self._owed.items() if now - debt.since > patience))

    def blind(self, patience: float) -> tuple[str, ...]:
        """Kinds whose debt was confirmed by a list after `patience` seconds."""
        return tuple(
            sorted(k for k, debt in self._owed.items() if debt.confirmed - debt.since > patience)
        )
