"""`kubectl mooring` over every state of the simulation: what it prints, and what it refuses.

The plugin tells before anything is written whether a verb fits. It may not import the operator,
so that both must be shown to agree.
"""

import json
from collections.abc import Callable

import pytest

from mooring_cli.outcome import CommandFailed
from mooring_cli.plugin import asks, overview
from mooring_cli.plugin.asks import Ask
from mooring_cli.plugin.explain import explain
from mooring_cli.plugin.kubectl import RESOURCE
from mooring_cli.plugin.view import Deployment
from mooring_operator.api.group import GROUP, Annotation, Kind
from mooring_operator.api.verbs import Handled
from tests.simulation.recorded_looks import Look, look_at, recorded_looks
from tests.simulation.transcript import check_text

Asking = Callable[[Deployment, str], Ask]
VERBS: dict[str, Asking] = {
    "abort": asks.abort,
    "approve": asks.approve,
    "promote": asks.promote,
    "retry": asks.retry,
    "rollback_to": asks.roll_back,
}
TEXTS = {
    "ready": "Ready/Promoted",
    "analysing": "Reconciling/Analysing",
    "starting": "Reconciling/CandidateStarting",
    "metrics-missing": "Reconciling/AwaitingMetrics",
    "undecided": "Stalled/AnalysisUndecided",
    "rolled-back": "Stalled/RolledBack | asked for v2 | stable v1 | candidate - | gated",
    "quarantined": "Stalled/Quarantined",
    "paused": "Reconciling/UserPaused | asked for v2 | stable v1 | candidate v2 Analysing",
    "awaiting-approval": "Reconciling/AwaitingApproval | asked for v2",
    "first-revision-fails": "Stalled/ProgressDeadlineExceeded",
    "model-missing": "Stalled/ModelNotFound",
    "rollback-cleared": "Ready/RollbackCleared",
    "cooling-down": "Reconciling/CoolingDown",
    "pod-update-failed": "Stalled/PodUpdateFailed",
    "budget-exhausted": "Stalled/RollbackBudgetExhausted",
}


def asked(look: Look, verb: str) -> Ask | CommandFailed:
    """What the plugin would say, or why it says nothing."""
    try:
        return VERBS[verb](Deployment(look.wire), "")
    except CommandFailed as refusal:
        return refusal


@pytest.mark.parametrize("look", recorded_looks(), ids=lambda look: look.title)
@pytest.mark.parametrize("verb", VERBS)
def test_plugin_refuses_just_what_the_operator_would_ignore(look: Look, verb: str) -> None:
    answer = asked(look, verb)
    if isinstance(answer, Ask):
        decision = look.decide(**{verb: f"{answer.target.revision}@now"})
        assert decision.status.last_verb is not None
        assert decision.status.last_verb.outcome == "Accepted"
        assert decision.status.last_verb.verb == answer.annotation
        return
    status = look.observation.resource.status
    known = {ref.revision for ref in (status.desired, status.candidate, status.stable) if ref}
    for revision in known:
        last = look.decide(**{verb: f"{revision}@now"}).status.last_verb
        assert last is None or last == status.last_verb or last.outcome == "Ignored"


def test_refusals_say_what_to_do() -> None:
    lines: list[str] = []
    for look in recorded_looks():
        lines += ["", look.title]
        for verb in VERBS:
            answer = asked(look, verb)
            told = (
                f"{answer.will}."
                if isinstance(answer, Ask)
                else f"{answer.message}\n      remedy: {answer.remedy}"
            )
            lines.append(f"  {verb}: {told}")
    check_text("\n".join(lines).lstrip() + "\n", "plugin/verbs.txt")


@pytest.mark.parametrize("name", TEXTS)
def test_state_reads_as_a_person_would_tell_it(name: str) -> None:
    deployment = Deployment(look_at(TEXTS[name]).wire)
    sections = [
        "$ kubectl mooring status delays",
        overview.status(deployment),
        "",
        "$ kubectl mooring history delays",
        overview.history(deployment),
        "",
        "$ kubectl mooring why delays",
        explain(deployment).text(),
    ]
    check_text("\n".join(sections) + "\n", f"plugin/{name}.txt")


@pytest.mark.parametrize("look", recorded_looks(), ids=lambda look: look.title)
def test_every_state_is_explained_and_shown(look: Look) -> None:
    deployment = Deployment(look.wire)
    told = explain(deployment)
    assert deployment.standing.reason in told.title
    assert told.what
    assert all(sentence.strip() for sentence in (*told.what, *told.evidence, *told.next))
    json.dumps(told.document())
    assert overview.status(deployment)
    assert overview.history(deployment)


def test_deployment_that_nobody_looked_at_is_shown_as_new() -> None:
    metadata = {"name": "d", "namespace": "n", "generation": 1}
    wire = {"metadata": metadata, "spec": {}, "status": {"observedGeneration": -1}}
    deployment = Deployment(wire)
    assert "has not looked" in overview.status(deployment)
    assert explain(deployment).title == "d in n: New"
    with pytest.raises(CommandFailed, match="no candidate"):
        asks.promote(deployment)


def test_names_are_the_operators() -> None:
    annotations = {asks.PROMOTE, asks.ABORT, asks.RETRY, asks.APPROVE, asks.ROLLBACK_TO}
    assert annotations <= {annotation.value for annotation in Annotation}
    fields = {field.alias for field in Handled.model_fields.values()}
    assert set(asks.HANDLED.values()) == fields
    assert set(asks.HANDLED) == annotations
    assert f"{Kind.MODEL_DEPLOYMENT.plural}.{GROUP}" == RESOURCE


def test_verb_is_refused_when_a_person_means_another_revision() -> None:
    deployment = Deployment(look_at("Reconciling/Analysing").wire)
    candidate = deployment.candidate
    assert candidate is not None
    for word in (candidate.version, candidate.revision, candidate.revision[:6]):
        assert asks.abort(deployment, word).target == candidate
    for word in ("v9", "0123456789ab", candidate.revision[:3]):
        with pytest.raises(CommandFailed, match="the candidate is"):
            asks.abort(deployment, word)


def test_rollback_leads_to_a_version_a_hash_or_a_number_of_the_history() -> None:
    deployment = Deployment(look_at("Ready/Promoted").wire)
    target = asks.roll_back(deployment).target
    assert target.version == "v1"
    for word in ("v1", target.revision, target.revision[:5], "1"):
        assert asks.roll_back(deployment, word).target.revision == target.revision
    for word, said in (("v2", "serves already"), ("7", "no earlier revision that 7 names")):
        with pytest.raises(CommandFailed, match=said):
            asks.roll_back(deployment, word)
