"""The decision about a Model: one look gives its whole status, Jobs, records and Events."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from mooring_operator.api.model import ModelStatus, VersionStatus
from mooring_operator.core.conditions import set_condition, summarize_ready, trimmed
from mooring_operator.core.decision import ChildRef, Decision, Manifest, OperatorConfig
from mooring_operator.core.manifests.job import VerificationTask, verification_job
from mooring_operator.core.observation import ModelObservation
from mooring_operator.core.registry.channels import resolve_channels
from mooring_operator.core.registry.events import events_of
from mooring_operator.core.registry.index import known_versions
from mooring_operator.core.registry.records import (
    Examined,
    read_records,
    verification_record,
)
from mooring_operator.core.registry.standing import (
    newest_of,
    sort_versions,
    standing_of,
    verified_fact,
    verified_share,
)
from mooring_operator.core.registry.usage import rejections_of, uses_of
from mooring_operator.core.registry.verification import (
    Assessment,
    assess,
    number_versions,
)

RECORD_CHECK = timedelta(seconds=5)
"""Look again after writing a record, in case its own notification is lost."""


def decide(
    observation: ModelObservation, config: OperatorConfig, now: datetime
) -> Decision[ModelStatus]:
    """What a Model's status must be, and the verification Jobs and records that it needs.

    Args:
        observation: the Model, its Jobs and records, and the deployments that name it.
        config: the operator's settings; the serving image names the Jobs.
        now: the time of the look, aware UTC.
    """
    model = observation.resource
    records = read_records(observation.records)
    uses = uses_of(observation.deployments)
    assessments = assess(
        known_versions(model.spec, records, [use.version for use in uses]),
        records,
        observation.jobs,
        model=model.metadata.name,
        image=config.serving_image,
        now=now,
    )
    numbers = number_versions(assessments, model.status.versions, records)
    versions = [
        _status_of(one, number, observation)
        for one, number in zip(assessments, numbers, strict=True)
    ]
    unavailable = frozenset(one.version.name for one in assessments if one.unavailable)
    channels = resolve_channels(model.spec.channels, model.status.channels, versions, now)
    groups = sort_versions(versions, unavailable)
    generation = model.metadata.generation
    conditions = set_condition(
        model.status.conditions, verified_fact(versions, groups), generation=generation, now=now
    )
    standing = standing_of(versions, groups, channels)
    newest = newest_of(versions)
    status = ModelStatus(
        observed_generation=generation,
        conditions=summarize_ready(conditions, standing, generation=generation, now=now),
        versions=versions,
        channels=list(channels.pointers),
        used_by=uses,
        newest=newest.name if newest is not None else "",
        verified=verified_share(versions),
    )
    return Decision(
        status=status,
        children=(
            *_records(observation, assessments, numbers, config, now),
            *_jobs(observation, assessments, config),
        ),
        prune=_superfluous(observation, assessments),
        events=events_of(model.status, versions, channels, unavailable),
        requeue_after=_next_look(assessments, now),
    )


def _status_of(one: Assessment, number: int, observation: ModelObservation) -> VersionStatus:
    version = one.version
    return VersionStatus(
        name=version.name,
        digest=version.digest,
        uri=version.uri,
        secret_name=version.secret_name,
        origin=version.origin,
        phase=one.phase,
        seq=number,
        reason=one.reason,
        message=trimmed(one.message),
        record_ref=one.record,
        report=one.report,
        rejected_in=rejections_of(version.name, version.digest, observation.deployments),
    )


def _records(
    observation: ModelObservation,
    assessments: Sequence[Assessment],
    numbers: Sequence[int],
    config: OperatorConfig,
    now: datetime,
) -> Iterator[Manifest]:
    """The verdicts to write down."""
    for one, number in zip(assessments, numbers, strict=True):
        if one.verdict is not None:
            examined = Examined(
                version=one.version.name,
                digest=one.version.digest,
                uri=one.version.uri,
                origin=one.version.origin,
                job=one.verdict.job,
                image=config.serving_image,
            )
            yield verification_record(
                observation.resource, examined, one.verdict.answer, seq=number, now=now
            )


def _jobs(
    observation: ModelObservation, assessments: Sequence[Assessment], config: OperatorConfig
) -> Iterator[Manifest]:
    """The verifications to start."""
    for one in assessments:
        if one.job is not None:
            task = VerificationTask(
                job=one.job,
                version=one.version.name,
                digest=one.version.digest,
                uri=one.version.uri,
                secret_name=one.version.secret_name,
                code_allowed=observation.code_allowed,
            )
            yield verification_job(observation.resource, task, config)


def _superfluous(
    observation: ModelObservation, assessments: Sequence[Assessment]
) -> tuple[ChildRef, ...]:
    """Jobs under way that no version waits for: removed, renamed, or of an earlier image."""
    awaited = {one.awaits for one in assessments if one.awaits is not None}
    return tuple(
        ChildRef("batch/v1", "Job", job.name)
        for _, job in sorted(observation.jobs.items())
        if not job.finished and job.name not in awaited
    )


def _next_look(assessments: Sequence[Assessment], now: datetime) -> timedelta | None:
    waits = [one.retry_at - now for one in assessments if one.retry_at is not None]
    if any(one.verdict is not None for one in assessments):
        waits.append(RECORD_CHECK)
    return min(waits, default=None)
