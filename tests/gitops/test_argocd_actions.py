"""Argo CD's actions: offered where they mean something, and setting the annotation that we read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mooring_operator.api.group import Kind
from tests.gitops.conftest import FULL, Judged
from tests.gitops.judges import Answers, Profile, argocd_settings, judge
from tests.gitops.lives import as_object
from tests.simulation.cluster import Behaviour
from tests.simulation.test_rollouts import serving_v1
from tests.simulation.witness import sighting_of
from tests.simulation.world import LARGE, STEPS, World, unfit

VERBS = {"promote", "abort", "retry", "rollback-to", "approve"}
pytestmark = pytest.mark.timeout(3600 if FULL else 1500)  # the first run builds the judges


def look(judges: Path, world: World) -> Answers:
    """What tools say of a world's deployment now."""
    return judge(judges, [as_object(sighting_of(world))])[0]


def take(judges: Path, world: World, name: str) -> None:
    """Somebody clicks on an action."""
    action = look(judges, world).actions[name]
    assert not action.disabled, f"{name} is not offered at {world.standing}"
    for annotation, value in action.annotations.items():
        world.annotate(annotation, value)


def test_actions_set_one_annotation_of_ours_and_nothing_else(judged: Judged) -> None:
    names: set[str] = set()
    for _, given in judged.looked_at:
        for name, action in given.actions.items():
            assert not action.error, f"{name}: {action.error}"
            if action.disabled:
                continue
            names.add(name)
            assert set(action.annotations) == {f"mooring.dev/{name}"}
            assert all(action.annotations.values())
            assert not action.elsewhere, f"{name} changes more than annotations"
    assert names >= {"promote", "abort", "retry", "rollback-to", "retrain"}


def test_every_verb_has_an_action(judged: Judged) -> None:
    for seen, given in judged.looked_at:
        if seen.kind is Kind.MODEL_DEPLOYMENT:
            assert set(given.actions) == VERBS


def test_actions_on_a_candidate_are_offered_while_it_is_let_in(judged: Judged) -> None:
    for seen, given in judged.looked_at:
        if seen.kind is not Kind.MODEL_DEPLOYMENT:
            continue
        candidate: Mapping[str, Any] = seen.status.get("candidate") or {}
        coming = candidate.get("stage") in ("Starting", "Analysing", "Promoting")
        for name in ("promote", "abort"):
            assert given.actions[name].disabled != coming
            if coming:
                value = given.actions[name].annotations[f"mooring.dev/{name}"]
                assert value.startswith(candidate["revision"])


def test_retry_by_an_action_is_one_retry_for_each_rollback(judges: Path) -> None:
    world = serving_v1({"v2": Behaviour(error_rate=0.15)})
    assert look(judges, world).actions["retry"].disabled
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    take(judges, world, "retry")
    world.run_until("Reconciling/Analysing")
    world.run_until("Stalled/RolledBack")
    world.run(120)
    assert world.standing == "Stalled/RolledBack", "one click is one retry"
    world.cluster.behaviours["v2"] = Behaviour()
    take(judges, world, "retry")
    world.run_until("Ready/Promoted")


def test_health_scripts_of_all_kinds_are_one_script() -> None:
    strict = argocd_settings(Profile.STRICT)
    scripts = {text for key, text in strict.items() if ".health." in key}
    assert len(scripts) == 1


def test_retry_by_an_action_ends_the_wait_after_rollbacks(judges: Path) -> None:
    world = serving_v1({"v2": Behaviour(error_rate=0.15)}, rollback={"cooldown": "30m"})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    world.apply("v3")
    world.run(20)
    assert world.standing == "Reconciling/CoolingDown"
    take(judges, world, "retry")
    world.tick()
    assert world.standing == "Reconciling/CandidateStarting"
    assert look(judges, world).actions["retry"].disabled


def test_retry_by_an_action_tries_failed_pod_settings_again(judges: Path) -> None:
    world = serving_v1(rollout={"steps": STEPS, "progressDeadline": "2m"})
    world.run(20)
    unfit(world, LARGE)
    world.edit(resources=LARGE)
    world.run_until("Stalled/PodUpdateFailed", within=200)
    take(judges, world, "retry")
    world.tick()
    assert world.standing == "Reconciling/NotEnoughPods"
    world.run_until("Stalled/PodUpdateFailed", within=200)
    world.cluster.unfit.clear()
    take(judges, world, "retry")
    world.run_until("Ready/Initialized", within=60)
