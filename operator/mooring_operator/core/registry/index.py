"""Which versions a Model has: those that people declare, and those that runs recorded."""

from collections.abc import Iterable
from dataclasses import dataclass

from mooring_operator.api.model import ModelSpec, Origin
from mooring_operator.core.registry.records import Records, VersionRecord

INDEX_LIMIT = 100
"""Most versions in status: every declared one, then the newest recorded ones."""


@dataclass(frozen=True)
class KnownVersion:
    """One version by name, wherever it comes from."""

    name: str
    digest: str
    uri: str
    secret_name: str | None
    origin: Origin
    conflict: str = ""
    """Why two sources claim this name with different digests, and what to do; empty: they do
    not."""


def known_versions(
    spec: ModelSpec, records: Records, in_use: Iterable[str] = ()
) -> tuple[KnownVersion, ...]:
    """The versions of a Model: declared ones in their order, then recorded ones, oldest first.

    Args:
        spec: what people declare.
        records: what runs recorded.
        in_use: names that some deployment serves; these stay in the index when it is full.
    """
    known: dict[str, KnownVersion] = {}
    for declared in spec.versions:
        known[declared.name] = KnownVersion(
            name=declared.name,
            digest=declared.digest,
            uri=declared.uri,
            secret_name=declared.secret_name,
            origin=Origin.DECLARED,
        )
    for record in records.versions:
        before = known.get(record.data.name)
        if before is None:
            known[record.data.name] = _recorded(record)
        elif before.digest != record.data.digest:
            known[record.data.name] = _conflicting(before, record)
    return _bounded(list(known.values()), frozenset(in_use))


def _recorded(record: VersionRecord, conflict: str = "") -> KnownVersion:
    return KnownVersion(
        name=record.data.name,
        digest=record.data.digest,
        uri=record.data.uri,
        secret_name=record.data.secret_name,
        origin=Origin.RETRAINED,
        conflict=conflict,
    )


def _conflicting(before: KnownVersion, record: VersionRecord) -> KnownVersion:
    remedy = (
        "give the declared version another name"
        if before.origin is Origin.DECLARED
        else f"delete the ControllerRevision {record.name} or the older one of this version"
    )
    return KnownVersion(
        name=before.name,
        digest=before.digest,
        uri=before.uri,
        secret_name=before.secret_name,
        origin=before.origin,
        conflict=(
            f"the name {before.name} is taken twice: {before.origin.value.lower()} with digest"
            f" {before.digest}, and recorded by run {record.data.run or '(unnamed)'} with digest"
            f" {record.data.digest}; {remedy}"
        ),
    )


def _bounded(known: list[KnownVersion], in_use: frozenset[str]) -> tuple[KnownVersion, ...]:
    surplus = len(known) - INDEX_LIMIT
    if surplus <= 0:
        return tuple(known)
    spare = [v.name for v in known if v.origin is Origin.RETRAINED and v.name not in in_use]
    left_out = set(spare[:surplus])
    return tuple(version for version in known if version.name not in left_out)[:INDEX_LIMIT]
