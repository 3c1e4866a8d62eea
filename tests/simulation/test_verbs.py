"""Verbs by annotation: every one in every state, whole stories, and tokens that mean others."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_operator.api.deployment_status import ModelDeploymentStatus
from mooring_operator.core.decision import Decision
from mooring_operator.core.revision import revision_hash
from tests.builders.resources import IMAGE, digest_of
from tests.simulation.cluster import Behaviour
from tests.simulation.recorded_looks import BAD, GATED, Look, look_at, recorded_looks
from tests.simulation.transcript import check_golden, check_text
from tests.simulation.world import STEPS, World

VERBS = ("abort", "approve", "promote", "retry", "rollback_to")
HASHES = {name: revision_hash(digest_of(name), IMAGE) for name in ("v1", "v2", "v3", "v4")}


def outcome(decision: Decision[ModelDeploymentStatus], before: Look) -> str:
    """What became of the one token that was said."""
    last = decision.status.last_verb
    known = before.observation.resource.status.last_verb
    if last is None or last == known:
        return "waits"
    return f"{last.outcome}: {last.message}"


def test_every_verb_in_every_state_ends_as_told() -> None:
    lines: list[str] = []
    for look in recorded_looks():
        lines += ["", look.title]
        status = look.observation.resource.status
        refs = (status.desired, status.candidate, status.stable, status.retired)
        named = {ref.version for ref in refs if ref}
        for verb in VERBS:
            for version in sorted(named):
                decision = look.decide(**{verb: f"{HASHES[version]}@now"})
                lines.append(
                    f"  {verb.replace(chr(95), chr(45))} {version}: {outcome(decision, look)}"
                )
    check_text("\n".join(lines).lstrip() + "\n", "verbs-in-every-state.txt")


def relevant(look: Look, verb: str) -> set[str]:
    """The revisions that a verb may be about here, by the rule of the specification."""
    status, spec = look.observation.resource.status, look.observation.resource.spec
    desired = status.desired.revision if status.desired is not None else None
    quarantined = {entry.revision for entry in status.quarantine}
    if verb in ("abort", "promote"):
        return {status.candidate.revision} if status.candidate is not None else set()
    if verb == "rollback_to":
        return before(look)
    if desired is None:
        return set()
    if verb == "retry":
        ready = next(c for c in status.conditions if c.type == "Ready")
        if status.pods is not None and status.pods.failed is not None:
            return {desired}
        waits = ready.reason in ("CoolingDown", "RollbackBudgetExhausted")
        return {desired} if waits else {desired} & quarantined
    waits = spec.rollout.approval.required and status.candidate is None
    return {desired} - quarantined if waits else set()


def before(look: Look) -> set[str]:
    """What a rollback may lead to, by hash or by number."""
    status = look.observation.resource.status
    if status.stable is None or status.revert is not None:
        return set()
    barred = {entry.revision for entry in status.quarantine} | {status.stable.revision}
    promoted = [entry for entry in status.history if entry.outcome == "Promoted"]
    fitting = [entry for entry in promoted if entry.revision not in barred]
    warm = {status.retired.revision} - barred if status.retired is not None else set[str]()
    return warm | {e.revision for e in fitting} | {str(e.seq) for e in fitting}


TOKENS = st.one_of(
    st.sampled_from(sorted(HASHES.values())),
    st.text("0123456789abcdef", min_size=12, max_size=12),
    st.text("0123456789abcdef", min_size=1, max_size=11),
    st.sampled_from(["true", "now", "v2", "*", "@", "2", "HEAD"]),
)
NONCES = st.sampled_from(["", "@1", "@again"])


def without_memory(decision: Decision[ModelDeploymentStatus]) -> list[dict[str, Any]]:
    """The children but for the annotation in which the handled tokens are mirrored."""
    children = copy.deepcopy(list(decision.children))
    for child in children:
        child["metadata"].get("annotations", {}).pop("mooring.dev/memory", None)
    return children


@settings(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from(VERBS), TOKENS, NONCES)
def test_token_for_another_revision_changes_nothing(
    data: st.DataObject, verb: str, key: str, nonce: str
) -> None:
    look = data.draw(st.sampled_from(recorded_looks()), "look")
    if key in relevant(look, verb):
        return
    quiet, said = look.decide(), look.decide(**{verb: f"{key}{nonce}"})
    forgotten = {"handled": quiet.status.handled, "last_verb": quiet.status.last_verb}
    assert said.status.model_copy(update=forgotten) == quiet.status
    assert without_memory(said) == without_memory(quiet)
    assert said.routes == quiet.routes
    assert said.prune == quiet.prune
    assert [event.reason for event in said.events] in ([], ["VerbIgnored"])


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(VERBS), TOKENS)
def test_token_is_looked_at_once(data: st.DataObject, verb: str, key: str) -> None:
    look = data.draw(st.sampled_from(recorded_looks()), "look")
    after = look.decide(**{verb: key})
    again = look.with_status(after.status).decide(**{verb: key})
    assert again.status.handled == after.status.handled
    assert again.status.last_verb == after.status.last_verb
    assert not [event for event in again.events if event.reason == "VerbIgnored"]


def serving_v1(behaviours: dict[str, Behaviour] | None = None, **fields: Any) -> World:
    world = World(behaviours)
    given: dict[str, Any] = {"rollout": {"steps": STEPS}} | fields
    world.apply("v1", None, **given)
    world.run_until("Ready/Initialized", within=120)
    world.run(20)
    return world


def say(world: World, verb: str, version: str, nonce: str = "") -> None:
    world.annotate(f"mooring.dev/{verb}", f"{HASHES[version]}{nonce}")


def test_candidate_is_promoted_at_once_when_a_person_says_so() -> None:
    world = serving_v1()
    world.cluster.traffic.per_tick = 6
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.run(60)
    say(world, "promote", "v2")
    world.run_until("Ready/Promoted", within=60)
    entry = world.status["history"][0]
    assert "a person promoted it" in entry["cause"]
    assert world.status["handled"]["promote"] == HASHES["v2"]
    world.apply("v3")
    world.run_until("Reconciling/Analysing")
    world.run(120)
    assert world.standing == "Reconciling/Analysing", "the token is inert for the next revision"
    assert world.cluster.traffic.failed == 0
    check_golden(world, "verb-promote")


def test_candidate_without_pods_is_promoted_only_when_they_are_ready() -> None:
    world = serving_v1({"v2": Behaviour(start_seconds=65)})
    world.apply("v2")
    world.run(20)
    say(world, "promote", "v2")
    world.run(20)
    assert world.standing == "Reconciling/CandidateStarting"
    assert world.status["stable"]["version"] == "v1"
    world.run_until("Ready/Promoted", within=120)
    check_golden(world, "verb-promote-while-starting")


def test_failing_candidate_is_promoted_when_a_person_takes_it_on() -> None:
    world = serving_v1({"v2": Behaviour(error_rate=0.15, start_seconds=35)})
    world.apply("v2")
    world.run(20)
    say(world, "promote", "v2")
    world.run_until("Ready/Promoted", within=120)
    assert world.status["quarantine"] == []


def test_promotion_waits_for_the_end_of_a_pause() -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    world.edit(paused=True)
    world.run(20)
    say(world, "promote", "v2")
    world.run(60)
    assert world.standing == "Reconciling/UserPaused"
    assert world.status["stable"]["version"] == "v1"
    world.edit(paused=False)
    world.run_until("Ready/Promoted", within=60)
    check_golden(world, "verb-promote-while-paused")


def test_undecided_candidate_is_promoted_when_a_person_decides() -> None:
    world = serving_v1(rollout={"steps": STEPS, "analysis": {"maxDuration": "5m"}})
    world.cluster.traffic.per_tick = 60
    world.apply("v2")
    world.run_until("Stalled/AnalysisUndecided", within=600)
    say(world, "promote", "v2")
    world.run_until("Ready/Promoted", within=60)


@pytest.mark.parametrize("paused", [False, True])
def test_candidate_is_dropped_and_quarantined_when_a_person_aborts(*, paused: bool) -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    if paused:
        world.edit(paused=True)
        world.run(20)
    say(world, "abort", "v2")
    world.run_until("Stalled/RolledBack", within=60)
    entry = world.status["quarantine"][0]
    assert (entry["version"], entry["reason"]) == ("v2", "Manual")
    assert world.status["history"][0]["outcome"] == "Aborted"
    rolled_back = world.condition("RolledBack")
    assert rolled_back is not None
    assert rolled_back["reason"] == "Manual"
    world.edit(paused=False)
    world.run(60)
    assert world.standing == "Stalled/RolledBack", "nothing lets it in again by itself"
    say(world, "retry", "v2")
    world.run_until("Ready/Promoted")
    assert world.cluster.traffic.failed == 0
    check_golden(world, "verb-abort-while-paused" if paused else "verb-abort")


def test_abort_wins_when_both_words_are_said_at_once() -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Reconciling/Analysing")
    say(world, "promote", "v2")
    say(world, "abort", "v2")
    world.run_until("Stalled/RolledBack", within=60)
    assert world.status["handled"]["promote"] == HASHES["v2"], "looked at, and ignored"
    world.annotate("mooring.dev/retry", f"{HASHES['v2']}@1")
    world.run_until("Reconciling/Analysing")
    assert world.status["candidate"].get("promotedBy", "") == "", "the old token does nothing now"


def test_new_revision_waits_when_approval_is_required() -> None:
    world = World({"v3": BAD})
    world.apply("v1", rollout=GATED)
    world.run(60)
    assert world.standing == "Reconciling/AwaitingApproval"
    assert world.cluster.workloads == {}, "not even the first revision starts"
    paused = world.condition("Paused")
    assert paused is not None
    assert (paused["status"], paused["reason"]) == ("True", "AwaitingApproval")
    say(world, "approve", "v1")
    world.run_until("Ready/Initialized", within=120)
    world.apply("v2")
    world.run(60)
    assert world.standing == "Reconciling/AwaitingApproval"
    assert len(world.cluster.workloads) == 1
    say(world, "approve", "v2", "@board-112")
    world.run_until("Ready/Promoted")
    assert world.status["history"][0]["approval"]["token"] == f"{HASHES['v2']}@board-112"
    assert "approval" not in world.status, "it was for one rollout"
    world.apply("v1")
    world.run(30)
    assert world.status["stable"]["version"] == "v1", "a way back to warm pods waits for nobody"
    world.apply("v3")
    world.run(30)
    say(world, "approve", "v3")
    world.run_until("Stalled/RolledBack")
    say(world, "retry", "v3")
    world.run(30)
    assert world.standing == "Reconciling/AwaitingApproval", "each rollout needs its own word"
    check_golden(world, "approval")


def test_approval_is_kept_while_the_deployment_is_paused() -> None:
    world = serving_v1(rollout=GATED | {"approval": {"required": False}})
    world.apply("v2", rollout=GATED, paused=True)
    world.run(20)
    assert world.standing == "Reconciling/UserPaused"
    say(world, "approve", "v2")
    world.run(20)
    assert world.standing == "Reconciling/UserPaused"
    assert world.status["approval"]["revision"] == HASHES["v2"]
    world.edit(paused=False)
    world.run_until("Ready/Promoted")


def test_approval_is_void_when_the_spec_asks_for_another_revision_meanwhile() -> None:
    world = serving_v1(rollout=GATED | {"approval": {"required": False}})
    world.apply("v2", rollout=GATED, paused=True)
    world.run(20)
    say(world, "approve", "v2")
    world.run(20)
    world.apply("v3", paused=False)
    world.run(20)
    assert world.standing == "Reconciling/AwaitingApproval"
    world.apply("v2")
    world.run(20)
    assert world.standing == "Reconciling/AwaitingApproval"


@pytest.mark.parametrize("paused", [False, True])
def test_stable_is_left_for_the_revision_before_when_a_person_says_so(*, paused: bool) -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Ready/Promoted")
    world.run(60)
    if paused:
        world.edit(paused=True)
        world.run(20)
    say(world, "rollback-to", "v1")
    world.run_until("Stalled/RolledBack", within=60)
    assert world.status["stable"]["version"] == "v1"
    entry = world.status["quarantine"][0]
    assert (entry["version"], entry["reason"], entry["trigger"]) == ("v2", "Manual", "Manual")
    assert world.cluster.traffic.failed == 0
    if not paused:
        check_golden(world, "verb-rollback-to")


def test_stable_is_left_for_an_older_revision_by_its_number_when_its_pods_are_gone() -> None:
    world = serving_v1(rollback={"keepWarm": "1m"})
    for version in ("v2", "v3"):
        world.apply(version)
        world.tick()
        world.run_until("Ready/Promoted", within=600)
        world.run(120)
    assert len(world.cluster.workloads) == 1
    world.annotate("mooring.dev/rollback-to", "1@incident-7")
    world.run_until("Stalled/RolledBack", within=120)
    assert world.status["stable"]["version"] == "v1"
    assert world.status["lastVerb"]["outcome"] == "Accepted"
    assert world.cluster.traffic.failed == 0
    say(world, "rollback-to", "v3")
    world.run(20)
    assert world.status["lastVerb"]["outcome"] == "Ignored", "what was left is in quarantine"
    check_golden(world, "verb-rollback-to-cold")


def test_rollback_beside_a_candidate_withdraws_it_and_lets_it_in_again_after_that() -> None:
    world = serving_v1()
    world.apply("v2")
    world.run_until("Ready/Promoted")
    world.run(20)
    world.apply("v3")
    world.run_until("Reconciling/Analysing")
    say(world, "rollback-to", "v1")
    world.run(60)
    assert world.status["stable"]["version"] == "v1"
    assert [entry["version"] for entry in world.status["quarantine"]] == ["v2"]
    world.run_until("Ready/Promoted")
    assert world.status["stable"]["version"] == "v3"
    assert world.cluster.traffic.failed == 0


def test_verbs_survive_when_the_status_is_lost() -> None:
    world = serving_v1({"v2": BAD})
    world.apply("v2")
    world.run_until("Stalled/RolledBack")
    say(world, "retry", "v2")
    world.run_until("Reconciling/Analysing")
    world.run_until("Stalled/RolledBack")
    world.status = {"observedGeneration": -1}
    world.happens("the status is lost")
    world.run(60)
    assert world.standing == "Stalled/RolledBack", "the token is not heard a second time"


def test_token_of_a_revision_that_is_not_verified_yet_waits() -> None:
    look = look_at("Reconciling/AwaitingModel")
    decision = look.decide(approve=HASHES["v3"])
    assert decision.events == ()
    assert decision.status.handled.approve == ""
