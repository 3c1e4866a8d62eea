"""Revisions: content hashes of what changes predictions, and the bookkeeping of past ones.

A revision names a package digest, the runtime image that was current when the revision was made,
and the configuration that changes predictions. Replicas, resources, steps and thresholds are not
in it: editing them must not look like a new revision, and must not lift a quarantine.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from mooring_operator.api.deployment_status import (
    CandidateStatus,
    HistoryEntry,
    ModelDeploymentStatus,
    Outcome,
    QuarantineEntry,
    RevisionRef,
)
from mooring_operator.ids import Revision

HASH_LENGTH = 12
HISTORY_LIMIT = 10
WAYS_BACK = 2
"""Promoted entries, and among the soaked ones, that the bound on history never drops."""
QUARANTINE_LIMIT = 20
REF_FIELDS = frozenset(RevisionRef.model_fields)


def revision_hash(
    digest: str, image: str, configuration: Mapping[str, str] | None = None
) -> Revision:
    """The name of a revision: 12 hex digits of the sha256 of its canonical JSON.

    Args:
        digest: the package digest.
        image: the runtime image, pinned.
        configuration: settings that change predictions. There are none in v1alpha1 yet.
    """
    document = {"configuration": dict(configuration or {}), "digest": digest, "image": image}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Revision(hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH])


def reference(ref: RevisionRef) -> RevisionRef:
    """The plain reference in a stable, candidate or retired entry."""
    return RevisionRef.model_validate(ref.model_dump(include=set(REF_FIELDS)))


def reference_fields(ref: RevisionRef) -> dict[str, str | None]:
    """The fields of a reference, to build an entry of another role from."""
    return ref.model_dump(include=set(REF_FIELDS))


def pinned(status: ModelDeploymentStatus, digest: str) -> tuple[Revision, str] | None:
    """The revision and image under which this digest is known here already, if it is.

    An operator upgrade changes the image of new revisions only: a digest that serves, is
    analysed, is warm or is quarantined keeps the image that it was pinned with.
    """
    known: Iterable[RevisionRef | QuarantineEntry | None] = (
        status.stable,
        status.candidate,
        status.retired,
        *status.quarantine,
        status.desired,
    )
    for entry in known:
        if entry is not None and entry.digest == digest:
            return Revision(entry.revision), entry.image
    return None


def quarantine_entry(status: ModelDeploymentStatus, revision: str) -> QuarantineEntry | None:
    """Why a revision must not serve here, if it must not."""
    return next((entry for entry in status.quarantine if entry.revision == revision), None)


def next_seq(status: ModelDeploymentStatus) -> int:
    """The number of the next rollout: above every one that the status knows of."""
    numbers = [status.last_seq, *(entry.seq for entry in status.history)]
    numbers += [entry.seq for entry in (status.stable, status.candidate) if entry is not None]
    # A probe leaves no history, but pods hold what they counted for it.
    numbers += [probe.seq for probe in (status.stable.probes if status.stable else ())]
    # After a lost status the quarantine is the only trace of rollouts since the stable one.
    if status.last_rollback is not None:
        numbers.append(int(status.last_rollback.id.removeprefix("r-")))
    numbers += [int(entry.rollback_id.removeprefix("r-")) for entry in status.quarantine]
    return max(numbers, default=0) + 1


def with_history(
    status: ModelDeploymentStatus,
    candidate: CandidateStatus,
    outcome: Outcome,
    cause: str,
    now: datetime,
) -> list[HistoryEntry]:
    """The history, newest first and bounded, with the ended rollout of `candidate`."""
    entry = HistoryEntry(
        seq=candidate.seq,
        revision=candidate.revision,
        version=candidate.version,
        digest=candidate.digest,
        uri=candidate.uri,
        secret_name=candidate.secret_name,
        image=candidate.image,
        outcome=outcome,
        started_at=candidate.started_at,
        ended_at=now,
        cause=cause,
        approval=candidate.approval,
    )
    return with_entry(status.history, entry)


def with_entry(history: Sequence[HistoryEntry], entry: HistoryEntry) -> list[HistoryEntry]:
    """The history, newest first and bounded, with `entry` before all others.

    The oldest entries go first, but never the newest ones that were promoted: they are the ways
    back, however many candidates failed since.
    """
    entries = [entry, *history]
    promoted = [known for known in entries if known.outcome is Outcome.PROMOTED]
    kept = [*promoted[:WAYS_BACK], *[known for known in promoted if known.soaked][:WAYS_BACK]]
    while len(entries) > HISTORY_LIMIT:
        spare = next(known for known in reversed(entries) if known not in kept)
        entries = [known for known in entries if known is not spare]
    return entries


def with_quarantine(status: ModelDeploymentStatus, entry: QuarantineEntry) -> list[QuarantineEntry]:
    """The quarantine, newest first and bounded, with `entry` instead of an older one."""
    others = [known for known in status.quarantine if known.revision != entry.revision]
    return [entry, *others][:QUARANTINE_LIMIT]
