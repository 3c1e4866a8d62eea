"""What each tool must say, by where a resource stands. Not by the rules that are under test."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mooring_operator.api.group import Kind
from tests.gitops.judges import Answers, Profile
from tests.simulation.witness import Sighting


class Standing(StrEnum):
    """Where a resource stands, for a person."""

    UNSEEN = "Unseen"
    """The operator has not looked at this generation."""
    READY = "Ready"
    UNDER_WAY = "UnderWay"
    HELD = "Held"
    """Under way, but a person holds it."""
    STALLED = "Stalled"


@dataclass(frozen=True)
class Expected:
    """The answers to a standing, or to a standing in a profile."""

    kstatus: str
    health: str


TABLE = {
    Standing.UNSEEN: Expected("InProgress", "Progressing"),
    Standing.READY: Expected("Current", "Healthy"),
    Standing.UNDER_WAY: Expected("InProgress", "Progressing"),
    Standing.HELD: Expected("InProgress", "Suspended"),
    Standing.STALLED: Expected("Failed", "Degraded"),
}
SERVES = Expected("Current", "Healthy")
"""The serving profile's answer while stable pods answer, or a policy trains."""
WAITS = TABLE[Standing.UNDER_WAY]
"""Its answer while they do not, whoever holds the rollout."""


def standing(seen: Sighting) -> Standing:
    """Where the resource stands."""
    if seen.status.get("observedGeneration") != seen.generation:
        return Standing.UNSEEN
    true = true_conditions(seen.status)
    three = [name for name in ("Ready", "Reconciling", "Stalled") if name in true]
    assert len(three) == 1, f"{three} are True"
    if three == ["Reconciling"]:
        return Standing.HELD if "Paused" in true else Standing.UNDER_WAY
    return Standing.READY if three == ["Ready"] else Standing.STALLED


def expected(seen: Sighting, profile: Profile) -> Expected:
    """What the tools must say of it under a profile."""
    stands = standing(seen)
    if profile is Profile.STRICT or stands not in (Standing.UNDER_WAY, Standing.HELD):
        return TABLE[stands]
    true = true_conditions(seen.status)
    works = {Kind.MODEL_DEPLOYMENT: "Available", Kind.RETRAIN_POLICY: "Running"}.get(seen.kind)
    return SERVES if works in true else WAITS


def true_conditions(status: Mapping[str, Any]) -> set[str]:
    """The types of the conditions that are True."""
    return {c["type"] for c in status.get("conditions", ()) if c["status"] == "True"}


def wrong_answers(seen: Sighting, given: Answers) -> list[str]:
    """Answers that are not as the table says."""
    strict = expected(seen, Profile.STRICT)
    pairs = [
        ("kstatus", given.kstatus, strict.kstatus),
        ("Flux's kstatus", given.flux_kstatus, strict.kstatus),
    ]
    for profile in Profile:
        wanted = expected(seen, profile)
        pairs.append((f"health, {profile}", given.health[profile], wanted.health))
        pairs.append((f"expressions, {profile}", given.expressions[profile], wanted.kstatus))
    return [f"{tool} says {said}, not {wanted}" for tool, said, wanted in pairs if said != wanted]


def lies(seen: Sighting, given: Answers) -> list[str]:
    """Answers that are not true of the world, whatever the status says."""
    fine = {"Current", "Healthy"}
    strict = [given.kstatus, given.flux_kstatus]
    strict += [given.health[Profile.STRICT], given.expressions[Profile.STRICT]]
    serving = [given.health[Profile.SERVING], given.expressions[Profile.SERVING]]
    found: list[str] = []
    if seen.status.get("observedGeneration") != seen.generation:
        spoken = set(strict + serving) - {"InProgress", "Progressing"}
        if spoken:
            found.append(f"{spoken} of a generation that the operator has not seen")
    if seen.kind is not Kind.MODEL_DEPLOYMENT:
        return found
    stable: Mapping[str, Any] = seen.status.get("stable") or {}
    if fine & set(strict):
        if stable.get("version") != seen.asked:
            found.append(f"fine while {stable.get('version')} serves and {seen.asked} is asked for")
        if seen.status.get("candidate") is not None:
            found.append("fine with a candidate on its way")
    if fine & set(serving) and not seen.serving:
        found.append("serving without a ready pod of the stable revision")
    return found
