"""What one deployment's statuses must not forget, kept beside the operator and never read by it.

The invariants of a single look are in `invariants.py`. Here is what only the order of statuses
shows: P2 a hash leaves the quarantine by a person's token or by its time, P7 each time lets at
most one automatic step back follow and no candidate begins beyond the budget, and no rollout counts
on top of what an earlier one left in the pods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mooring_operator.api.base import parse_duration
from mooring_operator.api.deployment_status import CandidateStage
from mooring_operator.api.rollback import Rollback
from mooring_operator.core.revision import QUARANTINE_LIMIT

Wire = Mapping[str, Any]


@dataclass
class Ledger:
    """The story of one deployment's status so far."""

    steps_back: Counter[str] = field(default_factory=Counter[str])
    """Automatic rollbacks of each revision."""
    retries: Counter[str] = field(default_factory=Counter[str])
    """Tokens that let each revision leave the quarantine."""
    ended: list[datetime] = field(default_factory=list[datetime])
    """When automatic rollbacks ended."""
    admitted: str = ""
    """The revision that a person lets in whatever was rolled back, until its rollout begins."""
    rollouts: dict[int, str] = field(default_factory=dict[int, str])
    """Which revision each rollout was about, by its number."""

    def written(self, before: Wire, after: Wire, rollback: Rollback, now: datetime) -> None:
        """A status is written.

        Args:
            before: the status on the wire until now.
            after: the one that replaces it.
            rollback: what the spec says of rollbacks.
            now: when.
        """
        if before.get("observedGeneration", -1) == -1:
            # Lost: what was mirrored on the children is all that anybody can know of it.
            self.rollouts.clear()
            if not after.get("quarantine"):
                self.steps_back.clear()
                self.ended.clear()
        else:
            self._quarantine(before, after, rollback, now)
        self._step_back(before, after, now)
        self._rollout(before, after, rollback, now)

    def _quarantine(self, before: Wire, after: Wire, rollback: Rollback, now: datetime) -> None:
        left = _held(before) - _held(after)
        told, known = _token(after, "retry"), _token(before, "retry")
        desired = after.get("desired")
        if told != known and desired is not None and told.startswith(desired["revision"]):
            self.admitted = desired["revision"]
        if told != known:
            freed = {revision for revision in left if told.startswith(revision)}
            self.retries.update(freed)
            left -= freed
        over = left & _over(before, rollback, now)
        self.retries.update(over)
        left -= over
        crowded = len(after.get("quarantine", ())) == QUARANTINE_LIMIT
        assert not left or crowded, f"P2: {left} left the quarantine without a token"

    def _step_back(self, before: Wire, after: Wire, now: datetime) -> None:
        last, known = after.get("lastRollback"), before.get("lastRollback")
        if last is None or (known is not None and known["id"] == last["id"]):
            return
        if last["trigger"] == "Manual" or before.get("observedGeneration", -1) == -1:
            return
        revision = last["fromRevision"]
        self.steps_back[revision] += 1
        self.ended.append(now)
        allowed = 1 + self.retries[revision]
        assert self.steps_back[revision] <= allowed, (
            f"P7: {revision} was rolled back {self.steps_back[revision]} times by itself"
        )

    def _rollout(self, before: Wire, after: Wire, rollback: Rollback, now: datetime) -> None:
        candidate, known = after.get("candidate"), before.get("candidate")
        if candidate is None or (known is not None and known["seq"] == candidate["seq"]):
            return
        number, revision = candidate["seq"], candidate["revision"]
        assert number not in self.rollouts, f"rollout {number} of {revision} is counted twice"
        self.rollouts[number] = revision
        if candidate["stage"] == CandidateStage.STARTING and revision != self.admitted:
            lately = [at for at in self.ended if now < at + parse_duration(rollback.budget.per)]
            assert len(lately) < rollback.budget.count, (
                f"P7: rollout {number} begins after {len(lately)} automatic rollbacks"
            )
        self.admitted = ""


def _held(status: Wire) -> set[str]:
    return {entry["revision"] for entry in status.get("quarantine", ())}


def _over(status: Wire, rollback: Rollback, now: datetime) -> set[str]:
    """Revisions whose quarantine is over by `rollback.quarantineTTL`."""
    if rollback.quarantine_ttl is None:
        return set()
    length = parse_duration(rollback.quarantine_ttl)
    entries = status.get("quarantine", ())
    return {e["revision"] for e in entries if now >= datetime.fromisoformat(e["at"]) + length}


def _token(status: Wire, verb: str) -> str:
    handled: Mapping[str, str] = status.get("handled") or {}
    return handled.get(verb, "")
