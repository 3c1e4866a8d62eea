"""What the operator asked of the API server in one run, as the proxy saw it."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from mooring_operator.api.group import Kind
from tests.faults.plan import WriteKey, stable_name
from tests.faults.wire import Request

_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_OWN = frozenset(kind.plural for kind in Kind)
_CREATED, _OK = 201, 200
_CLUSTER_DEPTH = {"api": 2, "apis": 3}
"""Parts of a path before the resource: /api/v1, /apis/group/version."""


@dataclass(frozen=True)
class Call:
    """One request, by what it asks."""

    verb: str
    plural: str
    name: str
    subresource: str

    @property
    def is_write(self) -> bool:
        """Whether it changes the cluster. The Lease's renewals are told apart: they never end."""
        return self.verb in _VERBS.values() and self.plural != "leases"


@dataclass(frozen=True)
class Write:
    """One write: which, and its place in the run."""

    key: WriteKey
    at: float
    kind: str
    """The object without its occurrence, for counting."""


@dataclass
class Journal:
    """Writes, creations, deletions, and what must never be asked."""

    time: Callable[[], float]
    writes: list[Write] = field(default_factory=list[Write])
    created: Counter[str] = field(default_factory=Counter[str])
    deleted: Counter[str] = field(default_factory=Counter[str])
    violations: list[str] = field(default_factory=list[str])
    lists: set[str] = field(default_factory=set[str])
    _seen: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def begin(self, request: Request) -> Write:
        """A write is about to be sent on."""
        call = call_of(request)
        body = _document(request.body)
        place = _place(call, body)
        self._seen[call.verb, place] += 1
        key = WriteKey(call.verb, place, self._seen[call.verb, place])
        write = Write(key, self.time(), place)
        self.writes.append(write)
        if call.plural in _OWN and (call.subresource != "status" or "spec" in body):
            self.violations.append(f"P1: {key} is no write of status alone")
        return write

    def end(self, write: Write, status: int, body: bytes) -> None:
        """The API server answered a write.

        Events are not counted: they are told once or, if the operator dies right then, not at all.
        """
        if write.kind.startswith("events/"):
            return
        if status == _CREATED:
            self.created[write.kind] += 1
        elif write.key.verb == "delete" and status == _OK:
            self.deleted[write.kind] += 1
        elif status >= 400 and status not in (404, 409):
            said = body[:300].decode(errors="replace")
            self.violations.append(f"{write.key} was refused with HTTP {status}: {said}")


def call_of(request: Request) -> Call:
    """What a request asks."""
    address = urlsplit(request.target)
    parts = address.path.strip("/").split("/")
    rest = parts[_CLUSTER_DEPTH.get(parts[0], len(parts)) :]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    plural, name, subresource = [*rest, "", "", ""][:3]
    if request.method == "GET":
        watching = parse_qs(address.query).get("watch", ["false"]) == ["true"]
        verb = "watch" if watching else "get" if name else "list"
    else:
        verb = _VERBS.get(request.method, request.method.lower())
    return Call(verb, plural, name, subresource)


def _document(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    document: object = json.loads(body)
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def _place(call: Call, body: dict[str, Any]) -> str:
    if call.plural == "events":
        # An Event's name is a digest that holds a uid.
        about = body.get("involvedObject", {}).get("kind", "*")
        return f"events/{about}/{body.get('reason', '*')}"
    name = call.name or body.get("metadata", {}).get("name", "")
    place = f"{call.plural}/{stable_name(name)}"
    return f"{place}/{call.subresource}" if call.subresource else place
