"""kstatus, Argo CD's Lua and Flux's CEL before every status that the simulation reaches.

In `make test` five random rollouts beside all golden lives, and alike statuses are judged once;
`make judge-status` runs 200 and judges each sighting. Both write build/judged-statuses.json.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mooring_operator.api.group import Kind
from tests.gitops.conftest import FULL, Judged
from tests.gitops.expectations import lies, standing, wrong_answers
from tests.gitops.judges import Answers, Profile, an_object, judge
from tests.gitops.lives import as_object

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(3600 if FULL else 1500)  # the first run builds the judges


def test_tools_answer_each_reachable_status_as_it_stands(judged: Judged) -> None:
    _write_down(judged)
    wrong = [
        f"{seen.kind} at {seen.generation}: {problem}\n{json.dumps(seen.status)[:2000]}"
        for seen, given in zip(judged.seen, judged.answers, strict=True)
        for problem in wrong_answers(seen, given)
    ]
    assert not wrong, wrong[0]
    print(_summary(judged))


def test_tools_never_call_fine_what_is_not_in_any_life(judged: Judged) -> None:
    told = [
        f"{seen.kind} at {seen.generation}: {lie}\n{json.dumps(seen.status)[:2000]}"
        for seen, given in zip(judged.seen, judged.answers, strict=True)
        for lie in lies(seen, given)
    ]
    assert not told, told[0]


def test_every_kind_is_seen_in_every_standing_that_it_has(judged: Judged) -> None:
    seen = {(one.kind, standing(one).value) for one in judged.seen}
    common = {"Unseen", "Ready", "UnderWay", "Stalled"}
    wanted = {(kind, name) for kind in Kind for name in common}
    assert seen >= wanted | {(Kind.MODEL_DEPLOYMENT, "Held")}
    followers = [one for one in judged.seen if "channel" in one.spec.get("model", {})]
    assert followers, "no deployment follows a channel"


def condition(type_: str, status: str = "True", observed: int = 2) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": "Because",
        "message": "so it is",
        "observedGeneration": observed,
    }


def status(*conditions: dict[str, Any], observed: Any = 2) -> dict[str, Any]:
    return {"observedGeneration": observed, "conditions": list(conditions)}


NOT_READY = condition("Ready", "False")
BAD: dict[str, tuple[dict[str, Any] | None, tuple[str, str, str]]] = {
    "no status": (None, ("Current", "Progressing", "error")),
    "the CRD's default": ({"observedGeneration": -1}, ("InProgress", "Progressing", "InProgress")),
    "a generation without conditions": (
        {"observedGeneration": 2},
        ("Current", "Progressing", "InProgress"),
    ),
    "ready by an earlier generation": (
        status(condition("Ready", observed=1), observed=1),
        ("InProgress", "Progressing", "InProgress"),
    ),
    "stalled by an earlier generation": (
        status(condition("Stalled", observed=1), observed=1),
        ("InProgress", "Progressing", "InProgress"),
    ),
    "reconciling, then stalled": (
        status(NOT_READY, condition("Reconciling"), condition("Stalled")),
        ("InProgress", "Degraded", "InProgress"),
    ),
    "stalled, then reconciling": (
        status(NOT_READY, condition("Stalled"), condition("Reconciling")),
        ("Failed", "Degraded", "InProgress"),
    ),
    "not ready and nothing else": (status(NOT_READY), ("InProgress", "Progressing", "InProgress")),
    "a generation in words": (
        status(condition("Ready"), observed="2"),
        ("error", "Progressing", "Current"),
    ),
    "ready by a condition of an earlier generation": (
        status(condition("Ready", observed=1)),
        ("Current", "Healthy", "InProgress"),
    ),
}
"""Statuses that we never write, or only for a moment: kstatus, strict health, strict CEL."""


@pytest.mark.parametrize(("wire", "expected"), BAD.values(), ids=BAD.keys())
def test_judges_tell_statuses_apart_that_we_must_not_write(
    judges: Path, wire: dict[str, Any] | None, expected: tuple[str, str, str]
) -> None:
    for kind in Kind:
        answers = judge(judges, [an_object(kind, wire, generation=2, spec={"triggers": []})])[0]
        found = (
            answers.kstatus,
            answers.health[Profile.STRICT],
            answers.expressions[Profile.STRICT],
        )
        assert tuple(text.split(":")[0] for text in found) == expected


def test_object_that_is_being_deleted_is_progressing(judges: Path) -> None:
    given = an_object(Kind.MODEL, status(condition("Ready")), generation=2)
    given["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    answers = judge(judges, [given])[0]
    assert answers.kstatus == "Terminating"
    assert set(answers.health.values()) == {"Progressing"}


def _write_down(judged: Judged) -> None:
    """Each distinct object with its answers, for people."""
    told = [
        {"standing": standing(seen), "answers": _wire(given), "object": as_object(seen)}
        for seen, given in judged.looked_at
    ]
    path = ROOT / "build" / "judged-statuses.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(told, indent=1))


def _wire(given: Answers) -> dict[str, Any]:
    return {
        "kstatus": given.kstatus,
        "health": dict(given.health),
        "expressions": dict(given.expressions),
        "actions": sorted(name for name, one in given.actions.items() if not one.disabled),
    }


def _summary(judged: Judged) -> str:
    lines = [f"{len(judged.seen)} sightings, {len(judged.looked_at)} objects before the judges"]
    counted = Counter(
        (
            seen.kind.value,
            standing(seen).value,
            given.kstatus,
            given.health[Profile.STRICT],
            given.expressions[Profile.STRICT],
            given.health[Profile.SERVING],
            given.expressions[Profile.SERVING],
        )
        for seen, given in zip(judged.seen, judged.answers, strict=True)
    )
    titles = ("kind", "standing", "kstatus", "Argo CD", "Flux", "Argo CD*", "Flux*", "sightings")
    rows = [titles, *((*row, str(n)) for row, n in sorted(counted.items()))]
    lines += ["  ".join(f"{text:<15}" for text in row).rstrip() for row in rows]
    return "\n".join([*lines, "* the serving profile"])
