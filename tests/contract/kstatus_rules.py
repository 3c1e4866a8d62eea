"""The rules that every status of ours satisfies, numbered, and kstatus' own algorithm.

Run on every simulated tick and by the cluster tests. kstatus reads generation first, then the
first of Reconciling=True and Stalled=True in list order, then Ready; a resource without any of
them counts as current, which is why the rules are strict.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Status = Mapping[str, Any]
ALWAYS_ON_DEPLOYMENT = (
    "Available",
    "DataQuality",
    "Drifted",
    "MetricsAvailable",
    "Paused",
    "Ready",
    "RolledBack",
)
ABNORMAL = ("Reconciling", "Stalled")


def r1_observed_generation_is_an_integer(status: Status, generation: int) -> str | None:
    """A string makes kstatus fail with an error."""
    value = status.get("observedGeneration")
    ok = isinstance(value, int) and not isinstance(value, bool) and value <= generation
    return None if ok else f"observedGeneration is {value!r} at generation {generation}"


def r2_conditions_come_with_the_generation(status: Status, generation: int) -> str | None:
    """An observed generation without conditions reads as current."""
    if status.get("observedGeneration", -1) != -1 and not status.get("conditions"):
        return "observedGeneration is written without conditions"
    return None


def r3_ready_is_always_present(status: Status, generation: int) -> str | None:
    """Without Ready a tool cannot tell waiting from done."""
    return None if "Ready" in _by_type(status) else "Ready is absent"


def r4_exactly_one_of_three_is_true(status: Status, generation: int) -> str | None:
    """Ready, Reconciling and Stalled exclude each other, and one of them holds."""
    conditions = _by_type(status)
    true = [
        type_
        for type_ in ("Ready", *ABNORMAL)
        if type_ in conditions and conditions[type_]["status"] == "True"
    ]
    return None if len(true) == 1 else f"True among Ready, Reconciling, Stalled: {true}"


def r5_abnormal_conditions_are_absent_unless_true(status: Status, generation: int) -> str | None:
    """Reconciling and Stalled are removed, not set False."""
    conditions = _by_type(status)
    left = [t for t in ABNORMAL if t in conditions and conditions[t]["status"] != "True"]
    return f"{left} are present without being True" if left else None


def r6_every_condition_speaks_of_the_observed_generation(
    status: Status, generation: int
) -> str | None:
    """All conditions are written in the patch that advances observedGeneration."""
    observed = status.get("observedGeneration")
    stale = [
        c["type"] for c in status.get("conditions", ()) if c.get("observedGeneration") != observed
    ]
    return f"{stale} speak of another generation than {observed}" if stale else None


def r7_types_are_unique_and_sorted(status: Status, generation: int) -> str | None:
    """kstatus depends on list order where two abnormal conditions hold; ours is fixed."""
    types = [c["type"] for c in status.get("conditions", ())]
    return None if types == sorted(set(types)) else f"types are {types}"


def r8_reasons_say_why(status: Status, generation: int) -> str | None:
    """Every condition has a reason, and what is wrong or under way has a message."""
    silent = [
        c["type"]
        for c in status.get("conditions", ())
        if not c.get("reason") or (c["type"] in ("Ready", *ABNORMAL) and not c.get("message"))
    ]
    return f"{silent} do not say why" if silent else None


RULES: tuple[Callable[[Status, int], str | None], ...] = (
    r1_observed_generation_is_an_integer,
    r2_conditions_come_with_the_generation,
    r3_ready_is_always_present,
    r4_exactly_one_of_three_is_true,
    r5_abnormal_conditions_are_absent_unless_true,
    r6_every_condition_speaks_of_the_observed_generation,
    r7_types_are_unique_and_sorted,
    r8_reasons_say_why,
)


def violations(status: Status, generation: int, always: Iterable[str] = ()) -> list[str]:
    """Every rule that a status breaks, by the rule's name.

    Args:
        status: on the wire.
        generation: metadata.generation.
        always: condition types that must be present besides Ready.
    """
    found = [
        f"{rule.__name__}: {problem}"
        for rule in RULES
        if (problem := rule(status, generation)) is not None
    ]
    missing = [type_ for type_ in always if type_ not in _by_type(status)]
    return [*found, *([f"absent: {missing}"] if missing else [])]


def kstatus(status: Status, generation: int) -> str:
    """What kstatus computes of a resource that is not being deleted."""
    observed = status.get("observedGeneration")
    if observed is not None and observed != generation:
        return "InProgress"
    for condition in status.get("conditions", ()):
        if condition["type"] == "Reconciling" and condition["status"] == "True":
            return "InProgress"
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return "Failed"
    ready = _by_type(status).get("Ready")
    return "Current" if ready is None or ready["status"] == "True" else "InProgress"


def _by_type(status: Status) -> dict[str, Mapping[str, Any]]:
    return {condition["type"]: condition for condition in status.get("conditions", ())}
