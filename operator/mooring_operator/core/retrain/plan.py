"""The decision about a RetrainPolicy: one look gives its whole status, Jobs, records and Events.

The status that names a run is written before its Job is created; a Job that exists for a token
that the status forgot is adopted, not repeated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from mooring_operator.api.conditions import ConditionType, Reason
from mooring_operator.api.retrain import (
    RetrainPolicy,
    RetrainPolicyStatus,
    RunResult,
    RunStatus,
    Verdict,
)
from mooring_operator.core.conditions import (
    Standing,
    condition_of,
    reconciling,
    set_condition,
    summarize_ready,
)
from mooring_operator.core.decision import (
    ChildRef,
    Decision,
    EventNote,
    EventType,
    Manifest,
    OperatorConfig,
)
from mooring_operator.core.manifests.job import training_job
from mooring_operator.core.observation import RetrainObservation
from mooring_operator.core.registry.records import Records, read_records
from mooring_operator.core.retrain.answers import describe, interval_text
from mooring_operator.core.retrain.run import Ended, Recording, Running, advance, attempts_of
from mooring_operator.core.retrain.settings import training_task
from mooring_operator.core.retrain.standing import (
    FAILURES,
    Quiet,
    blocker,
    cooldown_end,
    phase_of,
    quiet_standing,
    running_fact,
)
from mooring_operator.core.retrain.start import consider, known_runs
from mooring_operator.core.retrain.triggers import Watch, mark_handled, run_name, watch

HISTORY_LIMIT = 5
RECORD_CHECK = timedelta(seconds=5)
"""Look again after writing a record, in case its own notification is lost."""
RUN_REASONS: Mapping[Verdict, Reason] = {
    Verdict.ACCEPTED: Reason.RUN_ACCEPTED,
    Verdict.REJECTED: Reason.RUN_REJECTED,
    Verdict.INCONCLUSIVE: Reason.RUN_INCONCLUSIVE,
    **FAILURES,
}
BLOCKED = frozenset({Reason.INVALID_SPEC, Reason.DEPLOYMENT_NOT_FOUND, Reason.NO_PREDICTION_LOG})


@dataclass(frozen=True)
class _Course:
    """What the decision has come to so far."""

    run: RunStatus | None
    results: tuple[RunResult, ...]
    """Newest first."""
    seen: Watch
    standing: Standing | None = None
    """None: the state changed, look again at the same instant."""
    children: tuple[Manifest, ...] = ()
    events: tuple[EventNote, ...] = ()
    look_at: datetime | None = None

    @property
    def last(self) -> RunResult | None:
        """The result of the last run."""
        return self.results[0] if self.results else None


def decide(
    observation: RetrainObservation, config: OperatorConfig, now: datetime
) -> Decision[RetrainPolicyStatus]:
    """What a policy's status must be, and the training Job or version record that it needs.

    Args:
        observation: the policy, its deployment, that one's Model with its records, and the Jobs.
        config: the operator's settings.
        now: the time of the look, aware UTC.
    """
    status = observation.resource.status
    records = read_records(observation.records)
    course = _Course(status.run, tuple(status.history), _watch(observation, records, now))
    while course.standing is None:
        if course.run is None:
            course = _without_run(course, observation, records, now)
        else:
            course = _with_run(course, course.run, observation, records, config, now)
    policy = observation.resource
    return Decision(
        status=_status(observation, course, course.standing, now),
        children=course.children,
        prune=_superfluous(observation, course),
        events=course.events + _entered(policy, course.standing),
        requeue_after=_next_look(policy, course, now),
    )


def _watch(observation: RetrainObservation, records: Records, now: datetime) -> Watch:
    """The triggers; nothing is due by a spec that cannot be read."""
    policy = observation.resource
    block = blocker(observation)
    if block is not None and block.reason is Reason.INVALID_SPEC:
        return Watch((), tuple(policy.status.handled), None)
    return watch(policy, observation.deployment, known_runs(observation, records), now)


def _without_run(
    course: _Course, observation: RetrainObservation, records: Records, now: datetime
) -> _Course:
    """Starts a run, or stands still."""
    chosen = consider(observation, records, course.seen, course.last, now)
    if isinstance(chosen, Quiet):
        return replace(course, standing=quiet_standing(observation, chosen))
    started = EventNote(
        EventType.NORMAL,
        Reason.TRAINING,
        f"run {chosen.name} started by trigger {chosen.trigger} ({chosen.token}), against champion"
        f" {chosen.champion.version}",
    )
    handled = mark_handled(course.seen, observation.resource.spec.triggers)
    seen = replace(course.seen, due=(), handled=handled)
    return replace(course, run=chosen, seen=seen, events=(*course.events, started))


def _with_run(
    course: _Course,
    run: RunStatus,
    observation: RetrainObservation,
    records: Records,
    config: OperatorConfig,
    now: datetime,
) -> _Course:
    """Carries a run on, or ends it."""
    progress = advance(run, observation, records, now)
    match progress:
        case Ended(result):
            return replace(
                course,
                run=None,
                results=(result, *course.results),
                events=(*course.events, _ended(result)),
            )
        case Recording(record):
            message = f"run {run.name} won: recording version {run.name}"
            return replace(
                course,
                standing=reconciling(Reason.TRAINING, message),
                children=(record,),
                look_at=now + RECORD_CHECK,
            )
        case Running() as running:
            message = f"run {run.name} by trigger {run.trigger}: {running.message}"
            return replace(
                course,
                standing=reconciling(Reason.TRAINING, message),
                children=_jobs(observation, run, running.job, config),
                look_at=running.retry_at,
            )
        case _:
            assert_never(progress)


def _jobs(
    observation: RetrainObservation, run: RunStatus, job: str | None, config: OperatorConfig
) -> tuple[Manifest, ...]:
    deployment = observation.deployment
    log = None if deployment is None else deployment.spec.prediction_log
    if job is None or deployment is None or log is None:
        return ()
    task = training_task(observation.resource, run, deployment, log, job)
    return (training_job(observation.resource, task, config),)


def _ended(result: RunResult) -> EventNote:
    type_ = EventType.WARNING if result.verdict in FAILURES else EventType.NORMAL
    return EventNote(type_, RUN_REASONS[result.verdict], describe(result))


def _entered(policy: RetrainPolicy, standing: Standing) -> tuple[EventNote, ...]:
    """News about what blocks or suspends a policy; runs tell of themselves."""
    before = condition_of(policy.status.conditions, ConditionType.READY)
    if before is not None and before.reason == standing.reason:
        return ()
    if standing.reason in BLOCKED:
        return (EventNote(EventType.WARNING, standing.reason, standing.message),)
    if standing.reason is Reason.SUSPENDED:
        return (EventNote(EventType.NORMAL, standing.reason, standing.message),)
    return ()


def _status(
    observation: RetrainObservation, course: _Course, standing: Standing, now: datetime
) -> RetrainPolicyStatus:
    policy, deployment, last = observation.resource, observation.deployment, course.last
    generation = policy.metadata.generation
    conditions = set_condition(
        policy.status.conditions, running_fact(standing), generation=generation, now=now
    )
    trigger = course.run.trigger if course.run else last.trigger if last else ""
    return RetrainPolicyStatus(
        observed_generation=generation,
        conditions=summarize_ready(conditions, standing, generation=generation, now=now),
        phase=phase_of(standing),
        model=policy.status.model if deployment is None else deployment.spec.model.name,
        last_trigger=trigger,
        verdict=last.verdict.value if last else "",
        interval=interval_text(last.effect, last.lower, last.upper) if last else "",
        next_schedule=course.seen.next_schedule,
        cooldown_until=None if course.run else cooldown_end(policy, last, now),
        run=course.run,
        last_result=last,
        history=list(course.results[:HISTORY_LIMIT]),
        handled=list(course.seen.handled),
    )


def _superfluous(observation: RetrainObservation, course: _Course) -> tuple[ChildRef, ...]:
    """Finished Jobs of runs before the last one; that one's stay, for people to read."""
    policy = observation.resource.metadata
    runs = {run_name(policy, due.trigger, due.token) for due in course.seen.due}
    runs |= {named.name for named in (course.run,) if named is not None}
    runs |= {named.run for named in (course.last,) if named is not None}
    kept = {job.name for run in runs for job in attempts_of(run, observation.jobs).values()}
    return tuple(
        ChildRef("batch/v1", "Job", name)
        for name in sorted(observation.jobs)
        if observation.jobs[name].finished and name not in kept
    )


def _next_look(policy: RetrainPolicy, course: _Course, now: datetime) -> timedelta | None:
    moments = [course.look_at, course.seen.next_schedule]
    if course.run is None:
        moments.append(cooldown_end(policy, course.last, now))
    return min((moment - now for moment in moments if moment is not None), default=None)
