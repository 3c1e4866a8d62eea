"""What happened to a Model between two looks, one Event a transition.

An Event's reason is the reason of the state that was entered.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never

from mooring_operator.api.conditions import Reason
from mooring_operator.api.model import ModelStatus, VersionPhase, VersionStatus
from mooring_operator.core.decision import EventNote, EventType
from mooring_operator.core.registry.channels import Channels

VERSION_REASONS: Mapping[VersionPhase, Reason] = {
    VersionPhase.VERIFYING: Reason.VERIFYING,
    VersionPhase.VERIFIED: Reason.VERSION_VERIFIED,
    VersionPhase.REFUSED: Reason.VERSION_REFUSED,
}
"""A version that waits for its turn is no news."""


def events_of(
    before: ModelStatus,
    versions: Sequence[VersionStatus],
    channels: Channels,
    unavailable: frozenset[str],
) -> tuple[EventNote, ...]:
    """The news about versions, then about channels."""
    known = {(version.name, version.digest): version for version in before.versions}
    notes = [
        note
        for version in versions
        if (note := _version(known.get((version.name, version.digest)), version, unavailable))
    ]
    notes += [
        EventNote(
            EventType.NORMAL,
            Reason.CHANNEL_MOVED,
            f"channel {move.channel} moved to {move.version}"
            + (f" from {move.before}" if move.before else "")
            + f" (move {move.seq})",
        )
        for move in channels.moves
    ]
    return tuple(notes)


def _version(
    before: VersionStatus | None, after: VersionStatus, unavailable: frozenset[str]
) -> EventNote | None:
    same = before is not None and before.phase is after.phase
    if same and before is not None and before.reason == after.reason:
        return None
    if after.name in unavailable:
        message = f"version {after.name} ({after.reason}): {after.message}"
        return EventNote(EventType.WARNING, Reason.STORE_UNAVAILABLE, message)
    match after.phase:
        case VersionPhase.PENDING:
            return None
        case VersionPhase.VERIFYING:
            return None if same and not after.reason else _verifying(after)
        case VersionPhase.VERIFIED:
            return EventNote(EventType.NORMAL, VERSION_REASONS[after.phase], _verified(after))
        case VersionPhase.REFUSED:
            conflict = after.reason == Reason.VERSION_CONFLICT
            reason = Reason.VERSION_CONFLICT if conflict else VERSION_REASONS[after.phase]
            message = f"version {after.name} is refused ({after.reason}): {after.message}"
            return EventNote(EventType.WARNING, reason, message)
        case _:
            assert_never(after.phase)


def _verifying(after: VersionStatus) -> EventNote:
    reason = VERSION_REASONS[after.phase]
    if after.reason:
        message = f"verifying version {after.name} again ({after.reason}): {after.message}"
        return EventNote(EventType.WARNING, reason, message)
    return EventNote(EventType.NORMAL, reason, f"verifying version {after.name} ({after.uri})")


def _verified(after: VersionStatus) -> str:
    report = after.report
    if report is None:
        return f"version {after.name} passed verification"
    return (
        f"version {after.name} passed verification: {report.format}, {report.replayed_rows} sample"
        f" rows replayed, largest difference {report.max_absolute_difference:g},"
        f" p99 {report.p99_ms:g} ms"
    )
