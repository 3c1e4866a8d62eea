"""The probe: an older revision is compared with stable on the same requests, roles reversed.

It gets a copy of stable's requests, or, where labels are to be compared, a share of them: answers
that nobody got have no labels (ADR 9). The comparison is that of a rollout, with the older
revision as what stable is compared with, so that its error rate is the rollout's alpha.
"""

from dataclasses import replace
from datetime import timedelta

from mooring_operator.api.analysis_status import AnalysisStatus
from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment import AnalysisMetric, Rollout, RolloutStep
from mooring_operator.api.deployment_status import (
    CandidateStage,
    CandidateStatus,
    ProbeResult,
    ProbeStatus,
    ProbeVerdict,
    RetiredRevision,
    RevisionRef,
    Trigger,
)
from mooring_operator.core.conditions import Standing, reconciling, trimmed
from mooring_operator.core.decision import RouteRole
from mooring_operator.core.observation import PhaseCounts, TelemetryObservation
from mooring_operator.core.revision import next_seq, reference, reference_fields
from mooring_operator.core.rollout.analysis import evaluate, evidence_of, margin_of
from mooring_operator.core.rollout.candidate import (
    all_ready,
    deadline_passed,
    starting_message,
    time_left,
)
from mooring_operator.core.rollout.revert import begin_revert
from mooring_operator.core.rollout.rollback import LOOK_AGAIN, traffic_is_away
from mooring_operator.core.rollout.steps import candidate_replicas, phase_key
from mooring_operator.core.rollout.turn import (
    Situation,
    Turn,
    changed,
    named,
    normal,
    told_before,
    warning,
    with_candidate,
)
from mooring_operator.ids import Revision
from mooring_profile import Verdict

_BLAMED = {
    Trigger.RUNTIME: Reason.RUNTIME_REGRESSION,
    Trigger.QUALITY: Reason.QUALITY_BLAMED,
    Trigger.DRIFT: Reason.DRIFT_BLAMED,
}
"""Why a revision is left when what a trigger suspects is proven."""
_EVEN = 50
"""Stable's share, in percent, of requests that are all answered twice."""


def begin_probe(situation: Situation, target: RevisionRef, probe: ProbeStatus) -> Turn:
    """The older revision becomes the candidate, without traffic until its pods are ready."""
    retired = situation.status.retired
    warm = retired is not None and retired.revision == target.revision
    candidate = CandidateStatus.model_validate(
        reference_fields(target)
        | {
            "seq": next_seq(situation.status),
            "stage": CandidateStage.PROBE_STARTING,
            "started_at": situation.now,
            "step_started_at": situation.now,
            "probe": probe,
            "warm_until": retired.keep_until if retired is not None and warm else None,
        }
    )
    message = (
        f"{named(situation.stable)} is suspected ({probe.trigger}: {probe.suspicion}): whether"
        f" {named(target)} does better is found out by {_described(probe)}"
    )
    return Turn(
        changed(
            situation.status,
            candidate=candidate,
            retired=None if warm else retired,
            analysis=None,
        ),
        events=(warning(Reason.PROBING, message),),
    )


def await_probe(situation: Situation) -> Turn:
    """ProbeStarting: traffic only once its pods are ready; ended past the deadline."""
    candidate, probe = situation.candidate, _probe(situation)
    pods = situation.pods(candidate)
    started = pods is not None and all_ready(pods, candidate_replicas(situation.spec, candidate))
    if started and _answers(situation):
        stable = named(situation.stable)
        message = f"{named(candidate)} is compared with {stable}: {_described(probe)}"
        return Turn(
            with_candidate(
                situation,
                stage=CandidateStage.PROBING,
                step_started_at=situation.now,
                analysis_started_at=candidate.analysis_started_at or situation.now,
            ),
            events=(normal(Reason.PROBING, message),),
        )
    told = ", and not all were told to answer" if started else ""
    progress = f"{starting_message(situation)}{told}"
    if deadline_passed(situation, pods):
        why = f"{progress}, longer than progressDeadline {situation.spec.rollout.progress_deadline}"
        return _end(situation, ProbeVerdict.UNAVAILABLE, why)
    return Turn(
        situation.status,
        reconciling(Reason.PROBING, f"{progress}, to be compared with {named(situation.stable)}"),
        requeue_after=LOOK_AGAIN if started else time_left(situation, pods),
    )


def judge_probe(situation: Situation) -> Turn:
    """Probing: stable is left where it is proven worse; else the probe ends, in time at last."""
    candidate, telemetry = situation.candidate, situation.observation.telemetry
    pods = situation.pods(candidate)
    if pods is None or pods.ready == 0:
        message = f"{named(candidate)} has no ready pod: the comparison waits for it"
        return Turn(
            with_candidate(
                situation, stage=CandidateStage.PROBE_STARTING, step_started_at=situation.now
            ),
            events=(normal(Reason.PROBING, message),),
        )
    left = _time_left(situation)
    if telemetry is None:
        return _not_asked_yet(situation)
    if not telemetry.fresh:
        if left == timedelta():
            return _end(situation, ProbeVerdict.UNDECIDED, "the pods' counters are not fresh")
        return Turn(
            situation.status,
            _blind(situation),
            requeue_after=min(_interval(situation), left),
        )
    analysis = _compared(situation, telemetry)
    judged = situation.on(changed(situation.status, analysis=analysis))
    return _concluded(judged, analysis, left)


def leave_probe(situation: Situation) -> Turn:
    """ProbeEnding: once no traffic can reach it, it is dropped, or stays warm as it was."""
    candidate = situation.candidate
    if not traffic_is_away(situation):
        message = f"Taking the traffic from {named(candidate)}: it is not compared any more"
        return Turn(
            situation.status, reconciling(Reason.PROBING, message), requeue_after=LOOK_AGAIN
        )
    retired = situation.status.retired
    if candidate.warm_until is not None and situation.now < candidate.warm_until:
        retired = RetiredRevision.model_validate(
            reference_fields(candidate) | {"keep_until": candidate.warm_until}
        )
    return Turn(changed(situation.status, candidate=None, retired=retired))


def drop_probe(situation: Situation) -> Turn:
    """ProbeUnwanted: the spec asks for another revision, or for none that may serve."""
    return _end(situation, ProbeVerdict.UNWANTED, "the spec asks for something else")


def _not_asked_yet(situation: Situation) -> Turn:
    """An operator that has just begun ends no probe by its clock before it has asked the pods."""
    told = told_before(situation, (Reason.PROBING,))
    standing = told or _blind(situation)
    return Turn(situation.status, standing, requeue_after=_interval(situation))


def _blind(situation: Situation) -> Standing:
    message = f"{_progress(situation)}; the pods' counters are not fresh"
    return reconciling(Reason.PROBING, message)


def _answers(situation: Situation) -> bool:
    """Whether no pod of it hands over what it gets, as a warm pod does until it is told."""
    telemetry = situation.observation.telemetry
    if telemetry is None:
        return False
    routes = telemetry.routes.get(Revision(situation.candidate.revision), ())
    return not any(route is not None and route.role is RouteRole.RETIRED for route in routes)


def _concluded(judged: Situation, analysis: AnalysisStatus, left: timedelta) -> Turn:
    probe = _probe(judged)
    settings = _settings(judged).analysis
    worse = [m for m in analysis.metrics if m.verdict == Verdict.FAIL]
    better = [m for m in analysis.metrics if m.upper < -margin_of(AnalysisMetric(m.name), settings)]
    evidence = "; ".join(
        evidence_of(metric, settings).replace("against stable", "against the older revision")
        for metric in sorted(analysis.metrics, key=lambda metric: metric not in worse)
    )
    if worse and better:
        return _end(judged, ProbeVerdict.MIXED, evidence)
    if worse:
        stable = named(judged.stable)
        proof = f"{probe.suspicion}; on the same traffic {stable} is worse: {evidence}"
        target = reference(judged.candidate)
        return begin_revert(judged, target, probe.trigger, _BLAMED[probe.trigger], proof)
    if all(metric.verdict == Verdict.PASS for metric in analysis.metrics):
        return _end(judged, ProbeVerdict.NOT_BETTER, evidence)
    if left == timedelta():
        return _end(judged, ProbeVerdict.UNDECIDED, evidence)
    verdicts = ", ".join(f"{metric.name} {metric.verdict}" for metric in analysis.metrics)
    return Turn(
        judged.status,
        reconciling(Reason.PROBING, f"{_progress(judged)}; {verdicts}"),
        requeue_after=min(_interval(judged), left),
    )


def _end(situation: Situation, verdict: ProbeVerdict, why: str) -> Turn:
    """The probe is over without a rollback; its result keeps it from being tried again."""
    candidate, probe = situation.candidate, _probe(situation)
    message = trimmed(_said(situation, verdict, why), 600)
    result = ProbeResult(
        trigger=probe.trigger,
        verdict=verdict,
        seq=candidate.seq,
        at=situation.now,
        message=message,
    )
    others = [known for known in situation.stable.probes if known.trigger is not probe.trigger]
    stable = situation.stable.model_copy(update={"probes": [*others, result]})
    ending = with_candidate(
        situation, stage=CandidateStage.PROBE_ENDING, step_started_at=situation.now
    )
    return Turn(
        changed(ending, stable=stable),
        events=(normal(Reason.PROBE_ENDED, f"{probe.suspicion}; {message}"),),
    )


def _said(situation: Situation, verdict: ProbeVerdict, why: str) -> str:
    older, trigger = named(situation.candidate), _probe(situation).trigger
    # What hits both revisions is no reason to go back, whatever it is.
    next_ = "look at what calls it" if trigger is Trigger.RUNTIME else "it hits both: retrain"
    found = {
        ProbeVerdict.NOT_BETTER: "does no better on the same traffic",
        ProbeVerdict.MIXED: "is better in one metric and worse in another",
        ProbeVerdict.UNDECIDED: "was not proven better in time",
        ProbeVerdict.UNAVAILABLE: "could not be asked",
        ProbeVerdict.UNWANTED: "is not compared any more",
    }[verdict]
    advice = f"; {next_}" if verdict is ProbeVerdict.NOT_BETTER else ""
    return f"{older} {found}, so nothing is rolled back{advice} ({why})"


def _compared(situation: Situation, telemetry: TelemetryObservation) -> AnalysisStatus:
    """The verdicts: stable's arm minus the older revision's."""
    candidate, probe, rollout = situation.candidate, _probe(situation), _settings(situation)
    key = phase_key(rollout.steps, candidate)
    counts = telemetry.phases.get(key, PhaseCounts())
    mirrored = PhaseCounts(
        stable=counts.candidate if probe.weight else counts.shadow,
        candidate=counts.stable,
        stable_loss=counts.candidate_loss,
        candidate_loss=counts.stable_loss,
    )
    found = evaluate(rollout, candidate, replace(telemetry, phases={key: mirrored}), situation.now)
    found = found.model_copy(
        update={
            "candidate": situation.stable.revision,
            "sample_ratio": None,
            "disagreement": None,
            "distribution": None,
        }
    )
    known = situation.status.analysis
    if known is not None and known == found.model_copy(update={"evaluated_at": known.evaluated_at}):
        return known
    return found


def _settings(situation: Situation) -> Rollout:
    """The rollout's own margins and alpha, over the metrics that can be compared."""
    probe, analysis = _probe(situation), situation.spec.rollout.analysis
    metrics = [AnalysisMetric.ERRORS, AnalysisMetric.INVALID_OUTPUTS]
    if probe.weight:
        metrics.append(AnalysisMetric.LOSS)
    share = 100 - probe.weight if probe.weight else _EVEN
    return Rollout(
        steps=[RolloutStep(weight=share)], analysis=analysis.model_copy(update={"metrics": metrics})
    )


def _time_left(situation: Situation) -> timedelta:
    """Time for a proof. Labels come late, so their maturity is added where they are compared."""
    candidate, labels = situation.candidate, situation.spec.monitoring.labels
    longest = parse_duration(situation.spec.rollback.probe.max_duration)
    if _probe(situation).weight and labels is not None:
        longest += parse_duration(labels.maturity)
    began = candidate.analysis_started_at or candidate.started_at
    return max(began + longest - situation.now, timedelta())


def _progress(situation: Situation) -> str:
    probe = _probe(situation)
    return (
        f"{named(situation.stable)} is compared with {named(situation.candidate)}"
        f" ({probe.trigger}: {probe.suspicion}): {_described(probe)}"
    )


def _described(probe: ProbeStatus) -> str:
    if probe.weight:
        return f"{probe.weight}% of the requests, with their labels"
    return f"a copy of {probe.shadow}% of the requests"


def _probe(situation: Situation) -> ProbeStatus:
    if situation.candidate.probe is None:
        raise ValueError("the candidate is no probe")
    return situation.candidate.probe


def _interval(situation: Situation) -> timedelta:
    return parse_duration(situation.spec.monitoring.interval)
