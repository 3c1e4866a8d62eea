"""When a run starts: the first due trigger in the spec's order, unless something holds it."""

from datetime import datetime

from mooring_operator.api.deployment_status import StableStatus
from mooring_operator.api.retrain import (
    ChampionReference,
    RetrainPolicy,
    RunResult,
    RunStatus,
)
from mooring_operator.core.observation import RetrainObservation
from mooring_operator.core.registry.records import Records
from mooring_operator.core.retrain.standing import (
    Quiet,
    blocker,
    broken_input,
    cooldown_end,
    unsettled,
)
from mooring_operator.core.retrain.triggers import Due, Watch, run_name


def consider(
    observation: RetrainObservation,
    records: Records,
    seen: Watch,
    result: RunResult | None,
    now: datetime,
) -> RunStatus | Quiet:
    """The run to start now, or what the policy stands on without one.

    Args:
        observation: the policy, its deployment and its Jobs.
        records: what earlier runs recorded.
        seen: the triggers.
        result: of the last run.
        now: the time of the look.
    """
    policy, deployment = observation.resource, observation.deployment
    cooldown = cooldown_end(policy, result, now)
    quiet = Quiet(seen, result, cooldown)
    if not seen.due or deployment is None or blocker(observation) is not None:
        return quiet
    stable = deployment.status.stable
    forgotten = _forgotten(policy, seen, known_runs(observation, records))
    if forgotten is not None and stable is not None:
        return _run(policy, forgotten, stable, now)
    if policy.spec.suspend or cooldown is not None:
        return quiet
    held = unsettled(deployment) or _stray(observation)
    if stable is None or held:
        return Quiet(seen, result, cooldown, held)
    broken = broken_input(deployment)
    startable = [due for due in seen.due if due.manual or not broken]
    if not startable:
        return Quiet(seen, result, cooldown, broken)
    return _run(policy, startable[0], stable, now)


def known_runs(observation: RetrainObservation, records: Records) -> frozenset[str]:
    """Names of runs that left a Job or a version."""
    recorded = {record.data.run for record in records.versions}
    return frozenset(observation.jobs) | recorded


def _forgotten(policy: RetrainPolicy, seen: Watch, known: frozenset[str]) -> Due | None:
    """A due token whose run began already: the status was lost, the run goes on."""
    return next(
        (due for due in seen.due if run_name(policy.metadata, due.trigger, due.token) in known),
        None,
    )


def _stray(observation: RetrainObservation) -> str:
    """One run at a time, those included whose token nobody remembers."""
    stray = sorted(job.name for job in observation.jobs.values() if not job.finished)
    return f"Job {stray[0]} of an earlier run is still under way" if stray else ""


def _run(policy: RetrainPolicy, due: Due, stable: StableStatus, now: datetime) -> RunStatus:
    return RunStatus(
        name=run_name(policy.metadata, due.trigger, due.token),
        trigger=due.trigger,
        token=due.token,
        started_at=now,
        champion=ChampionReference(
            version=stable.version,
            digest=stable.digest,
            uri=stable.uri,
            secret_name=stable.secret_name,
        ),
    )
