"""The decision about a Model: one look gives its whole status, Jobs, records and Events."""

from collections.abc import Sequence
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
    Records,
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
from mooring_operator.core.registry.verification import Assessment, assess

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
    versions = [_status_of(one, observation) for one in assessments]
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
        children=_children(observation, assessments, records, config, now),
        prune=_superfluous(observation, assessments),
        events=events_of(model.status, versions, channels, unavailable),
        requeue_after=_next_look(assessments, now),
    )


def _status_of(one: Assessment, observation: ModelObservation) -> VersionStatus:
    version = one.version
    return VersionStatus(
        name=version.name,
        digest=version.digest,
        uri=version.uri,
        secret_name=version.secret_name,
        origin=version.origin,
        phase=one.phase,
        seq=one.seq,
        reason=one.reason,
        message=trimmed(one.message),
        record_ref=one.record,
        report=one.report,
        rejected_in=rejections_of(version.name, version.digest, observation.deployments),
    )


def _children(
    observation: ModelObservation,
    assessments: Sequence[Assessment],
    records: Records,
    config: OperatorConfig,
    now: datetime,
) -> tuple[Manifest, ...]:
    """The records to write, then the Jobs to start."""
    model = observation.resource
    answered = [(one.version, one.verdict) for one in assessments if one.verdict is not None]
    answered.sort(key=lambda pair: (pair[1].job.created_at, pair[1].job.name))
    written = [
        verification_record(
            model,
            Examined(
                version=version.name,
                digest=version.digest,
                uri=version.uri,
                origin=version.origin,
                job=verdict.job,
                image=config.serving_image,
            ),
            verdict.answer,
            seq=records.next_verification + place,
            now=now,
        )
        for place, (version, verdict) in enumerate(answered)
    ]
    started = [
        verification_job(
            model,
            VerificationTask(
                job=one.job,
                version=one.version.name,
                digest=one.version.digest,
                uri=one.version.uri,
                secret_name=one.version.secret_name,
            ),
            config,
        )
        for one in assessments
        if one.job is not None
    ]
    return (*written, *started)


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
