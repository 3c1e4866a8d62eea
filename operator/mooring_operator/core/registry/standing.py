"""Where a Model stands: its conditions, from the versions and channels of its new status."""

from collections.abc import Sequence
from dataclasses import dataclass

from mooring_operator.api.conditions import ConditionStatus, ConditionType, Reason
from mooring_operator.api.model import Origin, VersionPhase, VersionStatus
from mooring_operator.core.conditions import Fact, Standing, ready, reconciling, stalled
from mooring_operator.core.registry.channels import Channels

SHOWN = 5
"""How many versions a sentence lists."""


@dataclass(frozen=True)
class Sorted:
    """The versions by what is still to be said about them."""

    working: tuple[VersionStatus, ...]
    """Verification is under way, or about to be."""
    waiting: tuple[VersionStatus, ...]
    """Their store does not answer."""
    conflicting: tuple[VersionStatus, ...]
    """Declared, and their name is taken twice."""
    refused: tuple[VersionStatus, ...]
    """Declared, and refused otherwise."""


def sort_versions(versions: Sequence[VersionStatus], unavailable: frozenset[str]) -> Sorted:
    """Sorts the versions; a refused recorded one holds up nobody, since nobody declared it.

    Args:
        versions: the new index.
        unavailable: names of versions that wait for their store.
    """
    unsettled = [v for v in versions if v.phase in (VersionPhase.PENDING, VersionPhase.VERIFYING)]
    refused = [
        v for v in versions if v.phase is VersionPhase.REFUSED and v.origin is Origin.DECLARED
    ]
    conflict = Reason.VERSION_CONFLICT.value
    return Sorted(
        working=tuple(v for v in unsettled if v.name not in unavailable),
        waiting=tuple(v for v in unsettled if v.name in unavailable),
        conflicting=tuple(v for v in refused if v.reason == conflict),
        refused=tuple(v for v in refused if v.reason != conflict),
    )


def standing_of(versions: Sequence[VersionStatus], groups: Sorted, channels: Channels) -> Standing:
    """Exactly one of Ready, Reconciling and Stalled, with the reason that matters most.

    Work of ours that is under way comes first, so that a correction is waited for; then what
    only a person can mend; then a store that may come back by itself.
    """
    if groups.working:
        return reconciling(Reason.VERIFYING, _verifying(groups))
    if groups.conflicting:
        return stalled(Reason.VERSION_CONFLICT, _said(groups.conflicting[0]))
    if groups.refused:
        return stalled(Reason.VERSION_REFUSED, _refusals(groups.refused))
    lost = [unresolved for unresolved in channels.unresolved if not unresolved.waiting]
    if lost:
        return stalled(Reason.CHANNEL_UNRESOLVED, "; ".join(one.message for one in lost))
    if groups.waiting:
        return reconciling(Reason.STORE_UNAVAILABLE, _unavailable(groups.waiting))
    return ready(Reason.ALL_VERIFIED, _settled(versions, channels))


def verified_fact(versions: Sequence[VersionStatus], groups: Sorted) -> Fact:
    """The Verified condition: whether every declared version passed verification."""
    declared = [version for version in versions if version.origin is Origin.DECLARED]
    if groups.conflicting:
        first = groups.conflicting[0]
        return _verified(ConditionStatus.FALSE, Reason.VERSION_CONFLICT, _said(first))
    if groups.refused:
        message = _refusals(groups.refused)
        return _verified(ConditionStatus.FALSE, Reason.VERSION_REFUSED, message)
    if any(version.origin is Origin.DECLARED for version in groups.working):
        return _verified(ConditionStatus.UNKNOWN, Reason.VERIFYING, _verifying(groups))
    if any(version.origin is Origin.DECLARED for version in groups.waiting):
        message = _unavailable(groups.waiting)
        return _verified(ConditionStatus.UNKNOWN, Reason.STORE_UNAVAILABLE, message)
    count = f"{len(declared)} declared version" + ("" if len(declared) == 1 else "s")
    return _verified(ConditionStatus.TRUE, Reason.ALL_VERIFIED, f"{count} passed verification")


def newest_of(versions: Sequence[VersionStatus]) -> VersionStatus | None:
    """The verified version with the largest number."""
    verified = [version for version in versions if version.phase is VersionPhase.VERIFIED]
    return max(verified, key=lambda version: version.seq, default=None)


def verified_share(versions: Sequence[VersionStatus]) -> str:
    """`verified/known`, for the printer column."""
    verified = sum(1 for version in versions if version.phase is VersionPhase.VERIFIED)
    return f"{verified}/{len(versions)}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, the first few."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _verified(status: ConditionStatus, reason: Reason, message: str) -> Fact:
    return Fact(ConditionType.VERIFIED, status, reason, message)


def _said(version: VersionStatus) -> str:
    return f"version {version.name}: {version.message}"


def _verifying(groups: Sorted) -> str:
    message = f"verifying {listed([version.name for version in groups.working])}"
    notes = [_said(v) for v in groups.working if v.reason and v.message]
    notes += [f"{v.name} is refused ({v.reason})" for v in groups.refused + groups.conflicting]
    return "; ".join([message, *notes])


def _refusals(refused: Sequence[VersionStatus]) -> str:
    return "; ".join(
        f"version {version.name} is refused ({version.reason}): {version.message}"
        for version in refused[:SHOWN]
    )


def _unavailable(waiting: Sequence[VersionStatus]) -> str:
    first = waiting[0]
    names = listed([version.name for version in waiting])
    return f"waiting for the store of {names} ({first.reason}): {first.message}"


def _settled(versions: Sequence[VersionStatus], channels: Channels) -> str:
    newest = newest_of(versions)
    if newest is None:
        return "no version is declared yet: add one under spec.versions"
    parts = [f"{verified_share(versions)} versions verified, newest {newest.name}"]
    parts += [f"channel {p.name} points to {p.version}" for p in channels.pointers]
    parts += channels.holds
    parts += [
        f"recorded version {v.name} is refused ({v.reason}): {v.message}"
        for v in versions
        if v.phase is VersionPhase.REFUSED
    ]
    return "; ".join(parts)
