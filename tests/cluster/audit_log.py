"""What one account asked of the API server, from the embedded cluster's audit log."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mooring_operator.api.group import GROUP
from tests.cluster.installed_rights import Right, resource_name

READING = frozenset({"get", "list", "watch"})
CREATED = 201


@dataclass(frozen=True)
class Asked:
    """One request that was answered.

    Attributes:
        verb: as RBAC names it.
        resource: as in `installed_rights.Right`.
        group: API group of the resource.
        name: of the object; empty for lists and creations.
        code: HTTP status of the answer.
        fields: top-level fields of the object that was sent.
        dry_run: whether nothing was to be stored.
    """

    verb: str
    resource: str
    group: str
    name: str
    code: int
    fields: frozenset[str]
    dry_run: bool

    @property
    def writes_ours(self) -> bool:
        """Whether it writes one of our resources."""
        return self.group == GROUP and self.verb not in READING

    def rights(self) -> Iterator[Right]:
        """The rights that it needs. An apply that creates needs both."""
        yield self.verb, self.resource, self.name
        if self.verb == "patch" and self.code == CREATED:
            yield "create", self.resource, ""


def asked_by(log: Path, user: str) -> list[Asked]:
    """What the account asked so far, rotated logs included."""
    mark = f'"username":{json.dumps(user)}'
    return [
        _asked(event)
        for path in sorted(log.parent.glob(f"{log.stem}*{log.suffix}"))
        for line in path.read_text().splitlines()
        if mark in line and "objectRef" in (event := json.loads(line))
    ]


def used_rights(asked: list[Asked], granted: set[Right]) -> set[Right]:
    """The rights that these requests needed; one without a name stands for every name."""
    needed = {right for one in asked for right in one.rights()}
    return {
        right
        for right in granted
        if right in needed or (not right[2] and any(right[:2] == other[:2] for other in needed))
    }


def _asked(event: Mapping[str, Any]) -> Asked:
    place = event["objectRef"]
    group = place.get("apiGroup", "")
    sent: Mapping[str, Any] = event.get("requestObject") or {}
    return Asked(
        verb=event["verb"],
        resource=resource_name(group, place["resource"], place.get("subresource", "")),
        group=group,
        name=place.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        fields=frozenset(sent),
        dry_run="dryRun=All" in event["requestURI"],
    )
