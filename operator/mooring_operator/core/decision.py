"""What a decision says: the status to write first, the children to have, the routes, the events.

A decision is a value. `reconcile/` writes the status (write-ahead), then applies children in
order, prunes, pushes routes, posts events, and comes back after `requeue_after` at the latest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from mooring_operator.api.conditions import Reason
from mooring_operator.ids import Revision

Manifest = dict[str, Any]
"""A Kubernetes object to be applied with server-side apply: only the fields that we own."""

StatusT = TypeVar("StatusT")


class EventType(StrEnum):
    """Kubernetes' two kinds of Events."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True)
class EventNote:
    """One Event for people: a bounded reason and a sentence."""

    type: EventType
    reason: Reason
    message: str


@dataclass(frozen=True)
class ChildRef:
    """A child of ours, by kind and name, in the owner's namespace."""

    api_version: str
    kind: str
    name: str


class RouteRole(StrEnum):
    """What a pod does with the requests it gets; contract §4."""

    STABLE = "Stable"
    CANDIDATE = "Candidate"
    RETIRED = "Retired"


@dataclass(frozen=True)
class Route:
    """What the pods of one revision are told; contract §4, without its envelope."""

    role: RouteRole
    phase: str | None = None
    candidate_revision: Revision | None = None
    weight_percent: int = 0
    shadow_percent: int = 0
    deadline_ms: int = 1000
    stable_revision: Revision | None = None
    """Who must answer what a retired pod forwards."""
    sticky_header: str | None = None
    """In lower case."""


@dataclass(frozen=True)
class Decision(Generic[StatusT]):
    """The whole outcome of one look at one object."""

    status: StatusT
    children: tuple[Manifest, ...] = ()
    """Objects that must exist as written, applied in this order. Create-only kinds (Job,
    ControllerRevision) are created when absent and never changed."""
    prune: tuple[ChildRef, ...] = ()
    """Children that must not exist."""
    routes: Mapping[Revision, Route] = field(default_factory=dict[Revision, Route])
    """What the pods of each revision must be told, pushed at once when it changed."""
    events: tuple[EventNote, ...] = ()
    requeue_after: timedelta | None = None
    """Look again after this time even when nothing happens. None: only when something does."""


@dataclass(frozen=True)
class OperatorConfig:
    """The operator's settings that decisions depend on."""

    serving_image: str
    operator_namespace: str
    sync_public_keys: tuple[str, ...]
    """Base64 of raw Ed25519 public keys that pods accept, current first."""
    sync_ttl: timedelta = timedelta(seconds=60)
    """After this long without a message, pods set weight and shadow to 0 by themselves."""
    image_pull_policy: str = "IfNotPresent"
