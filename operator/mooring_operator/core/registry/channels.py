"""Where channels point: pinned by people, or following the newest verified version.

A pointer is never moved back: neither to nor from a version that was rolled back somewhere.
Quarantine is the deployment's business; a follower only does not advance to a rejected version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mooring_operator.api.conditions import Reason
from mooring_operator.api.model import Channel, ChannelStatus, VersionPhase, VersionStatus


@dataclass(frozen=True)
class Move:
    """A channel that points elsewhere than before."""

    channel: str
    version: str
    before: str
    """The version it pointed to; empty: to none."""
    seq: int


@dataclass(frozen=True)
class Unresolved:
    """A channel that cannot point where its rule says; an earlier pointer stays."""

    channel: str
    message: str
    waiting: bool
    """Verification under way may still resolve it."""


@dataclass(frozen=True)
class Channels:
    """The pointers of a Model, and what is to be said about them."""

    pointers: tuple[ChannelStatus, ...] = ()
    moves: tuple[Move, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    holds: tuple[str, ...] = ()
    """Why a follower does not advance, in sentences."""


def resolve_channels(
    declared: Sequence[Channel],
    before: Sequence[ChannelStatus],
    versions: Sequence[VersionStatus],
    now: datetime,
) -> Channels:
    """Every declared channel's pointer; a channel that left the spec loses its own."""
    pointed = {pointer.name: pointer for pointer in before}
    known = {version.name: version for version in versions}
    pointers: list[ChannelStatus] = []
    moves: list[Move] = []
    unresolved: list[Unresolved] = []
    holds: list[str] = []
    for channel in declared:
        previous = pointed.get(channel.name)
        target = (
            _pinned(channel, channel.version, previous, known)
            if channel.version is not None
            else _newest(channel, previous, versions)
        )
        holds += _hold(channel, target, versions)
        if isinstance(target, Unresolved):
            unresolved.append(target)
            if previous is not None:
                pointers.append(previous)
            continue
        pointer = _pointer(channel, target, previous, now)
        pointers.append(pointer)
        if pointer != previous:
            origin = previous.version if previous is not None else ""
            moves.append(Move(channel.name, pointer.version, origin, pointer.seq))
    return Channels(tuple(pointers), tuple(moves), tuple(unresolved), tuple(holds))


def _pinned(
    channel: Channel,
    name: str,
    previous: ChannelStatus | None,
    known: Mapping[str, VersionStatus],
) -> VersionStatus | Unresolved:
    version = known.get(name)
    if version is not None and version.phase is VersionPhase.VERIFIED:
        return version
    keeps = f"; it keeps pointing to {previous.version}" if previous is not None else ""
    if version is None:
        message = (
            f"channel {channel.name} pins {name}, which the model does not have{keeps}:"
            " declare that version, or correct the channel's version"
        )
        return Unresolved(channel.name, message, waiting=False)
    waiting = version.phase is not VersionPhase.REFUSED
    state = "is being verified" if waiting else f"was refused ({version.reason}: {version.message})"
    message = f"channel {channel.name} pins {name}, which {state}{keeps}"
    if not waiting:
        message += ": pin a verified version"
    return Unresolved(channel.name, message, waiting=waiting)


def _newest(
    channel: Channel, previous: ChannelStatus | None, versions: Sequence[VersionStatus]
) -> VersionStatus | Unresolved:
    """The version to follow to; the one already pointed to unless a newer one may be taken."""
    current = _current(previous, versions)
    if current is not None and current.phase is not VersionPhase.VERIFIED:
        return _verifying_again(channel, current)
    floor = current.seq if current is not None else 0
    eligible = [
        version
        for version in versions
        if version.phase is VersionPhase.VERIFIED
        and not version.rejected_in
        and version.seq > floor
    ]
    best = max(eligible, key=lambda version: version.seq, default=current)
    if best is not None:
        return best
    waiting = any(v.phase in (VersionPhase.PENDING, VersionPhase.VERIFYING) for v in versions)
    rejected = [version.name for version in versions if version.rejected_in]
    if rejected:
        why = f"every verified version was rolled back somewhere ({', '.join(rejected)})"
    else:
        why = "the model has no verified version"
    keeps = f"; it keeps pointing to {previous.version}" if previous is not None else ""
    message = f"channel {channel.name} follows the newest version, but {why}{keeps}"
    if not waiting:
        message += ": declare another version under spec.versions"
    return Unresolved(channel.name, message, waiting=waiting)


def _current(
    previous: ChannelStatus | None, versions: Sequence[VersionStatus]
) -> VersionStatus | None:
    """The version that a pointer names, if the model still has that very package.

    While two sources dispute the name, the pointer is not given up.
    """
    if previous is None:
        return None
    return next(
        (
            version
            for version in versions
            if version.name == previous.version
            and (version.digest == previous.digest or version.reason == Reason.VERSION_CONFLICT)
        ),
        None,
    )


def _verifying_again(channel: Channel, current: VersionStatus) -> Unresolved:
    waiting = current.phase is not VersionPhase.REFUSED
    state = "is verified again" if waiting else f"was refused ({current.reason})"
    message = f"channel {channel.name} points to {current.name}, which {state}"
    return Unresolved(channel.name, message, waiting=waiting)


def _hold(
    channel: Channel, target: VersionStatus | Unresolved, versions: Sequence[VersionStatus]
) -> list[str]:
    """Why a follower stays behind the newest verified version."""
    if channel.version is not None or isinstance(target, Unresolved):
        return []
    passed = [v for v in versions if v.rejected_in and v.seq > target.seq]
    if not passed:
        return []
    newest = max(passed, key=lambda version: version.seq)
    where = ", ".join(newest.rejected_in)
    return [
        f"channel {channel.name} stays at {target.name}: {newest.name} was rolled back in {where}"
    ]


def _pointer(
    channel: Channel, target: VersionStatus, previous: ChannelStatus | None, now: datetime
) -> ChannelStatus:
    if (
        previous is not None
        and previous.version == target.name
        and previous.digest == target.digest
    ):
        return previous
    return ChannelStatus(
        name=channel.name,
        version=target.name,
        digest=target.digest,
        since=now,
        seq=(previous.seq if previous is not None else 0) + 1,
    )
