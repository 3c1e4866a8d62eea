"""A ModelDeployment as the API server returns it, read for people.

Only what the plugin speaks of. Absent fields read as absent: an older operator writes fewer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

NOT_LOOKED_AT = "The operator has not looked at it yet"


@dataclass(frozen=True)
class Revision:
    """A revision by version and hash, and the entry of the status that it stands in."""

    version: str
    revision: str
    entry: Json

    def __str__(self) -> str:
        return f"{self.version} ({self.revision})"


@dataclass(frozen=True)
class Condition:
    """One condition."""

    type: str
    status: str
    reason: str
    message: str
    since: str


@dataclass(frozen=True)
class Deployment:
    """One ModelDeployment."""

    wire: Json

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self.wire["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        return str(self.wire["metadata"].get("namespace", ""))

    @property
    def generation(self) -> int:
        """metadata.generation."""
        return int(self.wire["metadata"].get("generation", 0))

    @property
    def spec(self) -> Json:
        """What people declared."""
        return self.wire.get("spec") or {}

    @property
    def status(self) -> Json:
        """What the operator says."""
        return self.wire.get("status") or {}

    @property
    def paused(self) -> bool:
        """spec.paused."""
        return bool(self.spec.get("paused"))

    @property
    def observed(self) -> bool:
        """Whether the status speaks of the present spec."""
        return self.status.get("observedGeneration") == self.generation

    @property
    def stable(self) -> Revision | None:
        """What serves."""
        return revision(self.status.get("stable"))

    @property
    def candidate(self) -> Revision | None:
        """What is being let in."""
        return revision(self.status.get("candidate"))

    @property
    def desired(self) -> Revision | None:
        """What the spec resolves to; None: to nothing that may serve."""
        return revision(self.status.get("desired"))

    @property
    def retired(self) -> Revision | None:
        """The former stable revision whose pods are warm."""
        return revision(self.status.get("retired"))

    @property
    def stage(self) -> str:
        """What the candidate is doing; empty without one."""
        candidate = self.candidate
        return "" if candidate is None else str(candidate.entry.get("stage", ""))

    @property
    def steps(self) -> Sequence[Json]:
        """The steps of a rollout."""
        return inside(self.spec, "rollout").get("steps") or ()

    @property
    def quarantine(self) -> Sequence[Json]:
        """Revisions that may not serve here, newest first."""
        return self.status.get("quarantine") or ()

    @property
    def history(self) -> Sequence[Json]:
        """Ended rollouts, newest first."""
        return self.status.get("history") or ()

    @property
    def last_verb(self) -> Json:
        """The token that the operator looked at last."""
        return inside(self.status, "lastVerb")

    @property
    def standing(self) -> Condition:
        """The one of Ready, Reconciling and Stalled that is True."""
        for type_ in ("Ready", "Reconciling", "Stalled"):
            found = self.condition(type_)
            if found is not None and found.status == "True":
                return found
        return Condition("Reconciling", "True", "", NOT_LOOKED_AT, "")

    def condition(self, type_: str) -> Condition | None:
        """The condition of a type; None: absent."""
        for found in self.status.get("conditions") or ():
            if found["type"] == type_:
                return Condition(
                    type_,
                    str(found.get("status", "")),
                    str(found.get("reason", "")),
                    str(found.get("message", "")),
                    str(found.get("lastTransitionTime", "")),
                )
        return None

    def in_quarantine(self, hash_: str) -> Json | None:
        """Why a revision may not serve here; None: it may."""
        return next((entry for entry in self.quarantine if entry["revision"] == hash_), None)


def inside(found: Json, name: str) -> Json:
    """An object in an object; empty where it is absent."""
    value: Json | None = found.get(name)
    return value or {}


def revision(entry: Json | None) -> Revision | None:
    """The revision that an entry of the status is about."""
    if not entry:
        return None
    return Revision(str(entry.get("version", "?")), str(entry.get("revision", "?")), entry)
