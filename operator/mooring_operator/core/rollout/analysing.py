"""The candidate under analysis: judged at every look, one step further when it may, never blind.

A missing counter is no verdict: without fresh telemetry weight and clock stand still. A failed
metric rolls back even while the rollout is paused.
"""

from datetime import datetime, timedelta
from typing import assert_never

from mooring_operator.api.analysis_status import AnalysisStatus
from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment import OnUndecided
from mooring_operator.api.deployment_status import CandidateStage
from mooring_operator.api.group import Annotation
from mooring_operator.core.conditions import Standing, reconciling, stalled
from mooring_operator.core.rollout.analysis import evaluate, evidence_of, failed_metric, reason_of
from mooring_operator.core.rollout.candidate import step_name
from mooring_operator.core.rollout.distribution import in_words
from mooring_operator.core.rollout.gateway import await_gateway
from mooring_operator.core.rollout.monitoring import counters_missing
from mooring_operator.core.rollout.raising import raised, short_of_pods
from mooring_operator.core.rollout.rollback import begin_rollback
from mooring_operator.core.rollout.steps import (
    current_step,
    describe,
    is_last_step,
    share_step,
)
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
from mooring_profile import Agreement, RatioVerdict, Verdict

_HOLDS = (
    Reason.ANALYSING,
    Reason.AWAITING_METRICS,
    Reason.SAMPLE_RATIO_MISMATCH,
    Reason.PREDICTIONS_DIFFER,
    Reason.ANALYSIS_UNDECIDED,
)
"""What was said of an analysis holds until somebody has asked the pods again."""


def analyse(situation: Situation) -> Turn:
    """Analysing: judge, then hold, advance, promote, wait, or end by the clock."""
    if situation.candidate.promoted_by:
        return begin_promotion(situation, "a person skips its analysis")
    if stable_is_away(situation):
        return _without_stable(situation)
    judged = judge(situation)
    failure = None if judged is None else failure_turn(judged)
    if failure is not None:
        return failure
    awaited = _not_asked_yet(situation)
    if awaited is not None:
        return awaited
    seen, missing = judged or situation, counters_missing(situation)
    marked = _found_again(seen) if missing is None else _missed(seen)
    if marked is not None:
        return marked
    if situation.spec.paused:
        return _paused(seen)
    if missing is not None:
        return _frozen(seen, missing[0])
    higher = raised(seen)
    if higher is not seen:
        return Turn(higher.status)
    return await_gateway(seen) or _move_on(_resumed(seen))


def stable_is_away(situation: Situation) -> bool:
    """Whether no pod of stable serves: then nothing that a candidate does is a comparison."""
    pods = situation.pods(situation.stable)
    return pods is None or pods.ready == 0


def judge(situation: Situation) -> Situation | None:
    """The situation with today's verdicts in its status; None without fresh counters."""
    telemetry = situation.observation.telemetry
    if telemetry is None or not telemetry.fresh:
        return None
    analysis = evaluate(
        situation.spec.rollout,
        situation.candidate,
        telemetry,
        situation.now,
        sticky=situation.spec.traffic.sticky_header is not None,
    )
    known = situation.status.analysis
    if known is not None and _same_evidence(known, analysis):
        analysis = known
    return situation.on(changed(situation.status, analysis=analysis))


def failure_turn(judged: Situation) -> Turn | None:
    """The rollback that the verdicts ask for, if they do."""
    metric = failed_metric(_analysis(judged))
    if metric is None:
        return None
    evidence = evidence_of(metric, judged.spec.rollout.analysis)
    return begin_rollback(judged, reason_of(metric), evidence)


def progress_message(judged: Situation) -> str:
    """Which step, how many rows of how many, and every metric's verdict."""
    analysis = _analysis(judged)
    step = current_step(judged.spec.rollout.steps, judged.candidate)
    verdicts = ", ".join(f"{metric.name} {metric.verdict}" for metric in analysis.metrics)
    return (
        f"{named(judged.candidate)}: {step_name(judged)}, {describe(step)},"
        f" {analysis.rows} of {step.min_rows} rows; {verdicts}"
    )


def deadline_of(situation: Situation) -> datetime:
    """When the analysis must be decided, with the time that its clock stood still."""
    candidate = situation.candidate
    began = candidate.analysis_started_at or candidate.started_at
    longest = parse_duration(situation.spec.rollout.analysis.max_duration)
    return began + longest + timedelta(seconds=candidate.held_seconds)


def _analysis(situation: Situation) -> AnalysisStatus:
    if situation.status.analysis is None:
        raise ValueError("the candidate was not judged yet")
    return situation.status.analysis


def _same_evidence(one: AnalysisStatus, other: AnalysisStatus) -> bool:
    """Equal but for the time: a look that saw nothing new writes nothing."""
    return one == other.model_copy(update={"evaluated_at": one.evaluated_at})


def _paused(situation: Situation) -> Turn:
    held = situation.candidate.held_since or situation.now
    step = current_step(situation.spec.rollout.steps, situation.candidate)
    message = (
        f"spec.paused is true: {named(situation.candidate)} is held at {step_name(situation)},"
        f" {describe(step)}; it is still rolled back if it fails"
    )
    return Turn(
        with_candidate(situation, held_since=held),
        reconciling(Reason.USER_PAUSED, message),
        requeue_after=_interval(situation),
    )


def _without_stable(situation: Situation) -> Turn:
    """No pod of stable serves: that is not the candidate's fault, and its clock stands still."""
    candidate, stable = situation.candidate, situation.stable
    pods = situation.pods(stable)
    failure = f" ({pods.failure})" if pods is not None and pods.failure else ""
    message = (
        f"No pod of {named(stable)} is ready{failure}: {named(candidate)} is held at"
        f" {step_name(situation)} and not judged. It goes on when they are; to let it serve"
        f" instead, annotate {Annotation.PROMOTE}={candidate.revision}"
    )
    return Turn(
        with_candidate(situation, held_since=candidate.held_since or situation.now),
        reconciling(Reason.NOT_ENOUGH_PODS, message),
        requeue_after=_interval(situation),
    )


def _missed(situation: Situation) -> Turn | None:
    """Counters are missing: since when, and the weight is given back when that is too long."""
    candidate = situation.candidate
    since = candidate.metrics_missing_since
    if since is None:
        return Turn(with_candidate(situation, metrics_missing_since=situation.now))
    if candidate.withheld or _grace_left(situation) > timedelta():
        return None
    steps, grace = situation.spec.rollout.steps, situation.spec.rollout.analysis.metrics_grace
    back = candidate.model_copy(update={"withheld": True})
    index = share_step(steps, back)
    if index == candidate.step:
        return None
    kept = "nothing" if index is None else describe(steps[index])
    message = (
        f"Counters are missing for longer than metricsGrace {grace}: {named(candidate)} goes back"
        f" from {describe(current_step(steps, candidate))} to {kept} until they are there again"
    )
    return Turn(
        with_candidate(situation, withheld=True),
        events=(warning(Reason.AWAITING_METRICS, message),),
    )


def _grace_left(situation: Situation) -> timedelta:
    since = situation.candidate.metrics_missing_since or situation.now
    grace = parse_duration(situation.spec.rollout.analysis.metrics_grace)
    return max(since + grace - situation.now, timedelta())


def _found_again(situation: Situation) -> Turn | None:
    """Counters are there: a weight that was given back returns."""
    candidate = situation.candidate
    if candidate.metrics_missing_since is None:
        return None
    step = current_step(situation.spec.rollout.steps, candidate)
    message = (
        f"Counters are there again: {named(candidate)} returns to {step_name(situation)},"
        f" {describe(step)}"
    )
    return Turn(
        with_candidate(situation, metrics_missing_since=None, withheld=False),
        events=(normal(Reason.ANALYSING, message),) if candidate.withheld else (),
    )


def _not_asked_yet(situation: Situation) -> Turn | None:
    """An operator that has just begun says what its predecessor said; None: it has asked.

    Its clock stands still meanwhile, but one that was over stays over. This lasts for two
    intervals at most: then pods have answered, or are known not to.
    """
    if situation.observation.telemetry is not None or situation.spec.paused:
        return None
    told = told_before(situation, _HOLDS)
    if told is None:
        return None
    ended = told.reason is Reason.ANALYSIS_UNDECIDED
    held = situation.candidate.held_since if ended else _held_since(situation)
    return Turn(
        with_candidate(situation, held_since=held), told, requeue_after=_interval(situation)
    )


def _held_since(situation: Situation) -> datetime:
    """Since when the clock stands still: since the last look that saw any counters."""
    candidate, known = situation.candidate, situation.status.analysis
    seen = known.evaluated_at if known is not None else candidate.step_started_at
    return candidate.held_since or max(seen, candidate.analysis_started_at or seen)


def _frozen(situation: Situation, why: Reason) -> Turn:
    """Counters are missing: neither weight nor clock moves."""
    candidate = situation.candidate
    what = (
        "too few of the answered rows are recorded; neither weight nor clock moves until more are"
        if why is Reason.LOW_COVERAGE
        else "the pods' counters are not fresh;"
        " neither weight nor clock moves until every ready pod answers"
    )
    given = ". Its weight is given back meanwhile" if candidate.withheld else ""
    message = f"{named(candidate)} is held at {step_name(situation)}: {what}{given}"
    left = _grace_left(situation)
    waits = (_interval(situation), left) if left else (_interval(situation),)
    return Turn(
        with_candidate(situation, held_since=_held_since(situation)),
        reconciling(Reason.AWAITING_METRICS, message),
        requeue_after=min(waits),
    )


def _resumed(judged: Situation) -> Situation:
    """The clock runs again. The look counts as seen, so that no time is refunded twice."""
    candidate = judged.candidate
    if candidate.held_since is None:
        return judged
    held = candidate.held_seconds + (judged.now - candidate.held_since).total_seconds()
    analysis = _analysis(judged).model_copy(update={"evaluated_at": judged.now})
    status = with_candidate(judged, held_since=None, held_seconds=held)
    return judged.on(changed(status, analysis=analysis))


def _move_on(judged: Situation) -> Turn:
    analysis = _analysis(judged)
    candidate = judged.candidate
    steps = judged.spec.rollout.steps
    hold = short_of_pods(judged, candidate.step) or _mismatch(judged)
    hold = hold or _difference(judged) or _shift(judged)
    if hold is None and analysis.rows >= current_step(steps, candidate).min_rows:
        if not is_last_step(steps, candidate):
            hold = short_of_pods(judged, candidate.step + 1)
            if hold is None:
                return _next_step(judged)
        elif analysis.verdict == Verdict.PASS:
            return begin_promotion(judged, "every metric passed")
    if judged.now >= deadline_of(judged):
        return _undecided(judged, hold)
    left = deadline_of(judged) - judged.now
    standing = hold or reconciling(Reason.ANALYSING, progress_message(judged))
    return Turn(judged.status, standing, requeue_after=min(_interval(judged), left))


def _mismatch(judged: Situation) -> Standing | None:
    """What is wrong with the arms' shares; None: nothing. It holds, it blames nobody."""
    found = _analysis(judged).sample_ratio
    if found is None or found.verdict != RatioVerdict.MISMATCHED:
        return None
    step = current_step(judged.spec.rollout.steps, judged.candidate)
    message = (
        f"{named(judged.candidate)} is held at {step_name(judged)}: it answered {found.observed} of"
        f" {found.requests} requests, {describe(step)} makes {found.expected:.0f}. Metrics of such"
        " arms are not comparable; find out where requests go (pods behind, breakers open)"
    )
    return reconciling(Reason.SAMPLE_RATIO_MISMATCH, message)


def _difference(judged: Situation) -> Standing | None:
    """Too many shadowed rows got another answer; None: not shown."""
    found = _analysis(judged).disagreement
    if found is None or found.verdict != Agreement.DIFFERS:
        return None
    message = (
        f"{named(judged.candidate)} is held at {step_name(judged)}: it answered {found.disagreeing}"
        f" of {found.rows} shadowed rows differently than stable, at least {found.lower:.2%};"
        " if that is expected, raise rollout.analysis.maxDisagreement"
    )
    return reconciling(Reason.PREDICTIONS_DIFFER, message)


def _shift(judged: Situation) -> Standing | None:
    """The candidate spreads its answers otherwise; None: not shown."""
    found = _analysis(judged).distribution
    allowed = judged.spec.rollout.analysis.max_distribution_shift
    if found is None or allowed is None or found.verdict != Agreement.DIFFERS:
        return None
    message = (
        f"{named(judged.candidate)} is held at {step_name(judged)}: {in_words(found, allowed)};"
        " if that is expected, raise it"
    )
    return reconciling(Reason.PREDICTIONS_DIFFER, message)


def _next_step(judged: Situation) -> Turn:
    further = raised(
        judged.on(
            with_candidate(judged, step=judged.candidate.step + 1, step_started_at=judged.now)
        )
    )
    step = current_step(judged.spec.rollout.steps, further.candidate)
    message = (
        f"{named(judged.candidate)} showed nothing worse in {_analysis(judged).rows} rows:"
        f" {step_name(further)}, {describe(step)}"
    )
    return Turn(further.status, events=(normal(Reason.ANALYSING, message),))


def begin_promotion(judged: Situation, why: str) -> Turn:
    """The candidate keeps its share while it is scaled to full."""
    message = f"{named(judged.candidate)} is being promoted: {why}"
    return Turn(
        with_candidate(judged, stage=CandidateStage.PROMOTING, step_started_at=judged.now),
        events=(normal(Reason.PROMOTING, message),),
    )


def _undecided(judged: Situation, hold: Standing | None) -> Turn:
    settings = judged.spec.rollout.analysis
    open_ = [m for m in _analysis(judged).metrics if m.verdict != Verdict.PASS]
    evidence = "; ".join(evidence_of(metric, settings) for metric in open_)
    missing = (
        hold.message
        if hold is not None
        else evidence or f"too few rows: {progress_message(judged)}"
    )
    summary = f"undecided after maxDuration {settings.max_duration}: {missing}"
    match settings.on_undecided:
        case OnUndecided.ROLLBACK:
            return begin_rollback(judged, Reason.UNDECIDED, summary)
        case OnUndecided.PROMOTE:
            turn = begin_promotion(judged, summary)
            return Turn(turn.status, events=(warning(Reason.PROMOTING, turn.events[0].message),))
        case OnUndecided.PAUSE:
            message = (
                f"{named(judged.candidate)} is {summary}. It keeps its share and is still judged;"
                " raise maxDuration, set onUndecided, or ask for another version"
            )
            return Turn(
                judged.status,
                stalled(Reason.ANALYSIS_UNDECIDED, message),
                requeue_after=_interval(judged),
            )
        case _:
            assert_never(settings.on_undecided)


def _interval(situation: Situation) -> timedelta:
    return parse_duration(situation.spec.monitoring.interval)
