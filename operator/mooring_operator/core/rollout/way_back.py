"""Where a way back from the stable revision leads: to what was promoted here before."""

from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import (
    HistoryEntry,
    ModelDeploymentStatus,
    Outcome,
    RevisionRef,
)
from mooring_operator.core.revision import quarantine_entry, reference


def last_known_good(status: ModelDeploymentStatus) -> HistoryEntry | None:
    """The newest promoted revision that survived its soak and is not in quarantine."""
    return next((entry for entry in _promoted(status) if entry.soaked), None)


def way_back(status: ModelDeploymentStatus) -> RevisionRef | None:
    """The revision that the stable one would be left for; None: there is none.

    The last one before it that is known to be good; where none survived its soak, the last one
    that served. A stable revision that took its role back, or that served here before, has none:
    a rollback never walks further down the history, and never back to what was left.
    """
    stable = status.stable
    if stable is None or stable.reason != Reason.PROMOTED:
        return None
    older = [entry for entry in _promoted(status) if entry.seq < stable.seq]
    if any(entry.revision == stable.revision for entry in older):
        return None
    good = (entry for entry in older if entry.soaked)
    for entry in (*good, *older):
        found = reference_of(status, entry)
        if found is not None:
            return found
    return None


def reference_of(status: ModelDeploymentStatus, entry: HistoryEntry) -> RevisionRef | None:
    """What is needed to bring a revision of the history back.

    None for an entry of an older operator, which did not keep it, unless its pods are warm.
    """
    if status.retired is not None and status.retired.revision == entry.revision:
        return reference(status.retired)
    if entry.uri is None or not entry.image:
        return None
    return RevisionRef(
        revision=entry.revision,
        version=entry.version,
        digest=entry.digest,
        uri=entry.uri,
        secret_name=entry.secret_name,
        image=entry.image,
    )


def _promoted(status: ModelDeploymentStatus) -> list[HistoryEntry]:
    """Promoted and not in quarantine, newest first."""
    return [
        entry
        for entry in status.history
        if entry.outcome is Outcome.PROMOTED and quarantine_entry(status, entry.revision) is None
    ]
