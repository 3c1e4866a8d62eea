"""The immutable facts about a Model's versions: ControllerRevisions, written once.

Two sorts, told apart by the label mooring.dev/record: `version` (a version that a run produced)
and `verification` (the verdict on one version and digest; the first one counts). Reading ignores
a record whose data is not of its sort's shape, or whose sort only another release knows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from mooring_operator.api.base import ApiModel, DigestText, DnsLabel, SecretName, StoreUri
from mooring_operator.api.group import MANAGED_BY, Kind, Label
from mooring_operator.api.model import Model, Origin, VersionReport
from mooring_operator.core.decision import Manifest
from mooring_operator.core.manifests.job import owner_reference, short_hash
from mooring_operator.core.observation import JobObservation, RecordObservation
from mooring_operator.core.registry.answers import Refused, Verified


class RecordSort(StrEnum):
    """What a record is about; the value of the label mooring.dev/record."""

    VERSION = "version"
    VERIFICATION = "verification"


class RecordedVerdict(StrEnum):
    """How the verification of a version ended, for good."""

    VERIFIED = "Verified"
    REFUSED = "Refused"


class VerificationData(ApiModel):
    """Data of a verification record."""

    verdict: RecordedVerdict
    version: DnsLabel
    digest: DigestText
    uri: str = ""
    origin: str = ""
    image: str = ""
    job_name: str = ""
    job_uid: str = ""
    report: VersionReport | None = None
    verified_at: datetime | None = None
    refused_at: datetime | None = None
    reason: str = ""
    message: str = ""
    remedy: str = ""


class VersionData(ApiModel):
    """Data of a version record; `evaluation` is the run's evidence, for people and audits."""

    name: DnsLabel
    uri: StoreUri
    digest: DigestText
    secret_name: SecretName | None = None
    parents: tuple[DigestText, ...] = ()
    run: str = ""


@dataclass(frozen=True)
class VerificationRecord:
    """A verdict on one version and digest."""

    name: str
    seq: int
    data: VerificationData


@dataclass(frozen=True)
class VersionRecord:
    """A version that a run produced."""

    name: str
    seq: int
    data: VersionData
    raw: Mapping[str, Any]
    """The data as recorded, with the evaluation."""


@dataclass(frozen=True)
class Records:
    """All facts about one Model, in the order in which they were established."""

    verifications: tuple[VerificationRecord, ...]
    versions: tuple[VersionRecord, ...]
    next_verification: int
    next_version: int

    def verification_of(self, version: str, digest: str) -> VerificationRecord | None:
        """The verdict on a version and digest, if there is one."""
        return next(
            (
                record
                for record in self.verifications
                if record.data.version == version and record.data.digest == digest
            ),
            None,
        )

    def version_of_run(self, run: str) -> VersionRecord | None:
        """The version that a run produced, if it did."""
        return next((record for record in self.versions if record.data.run == run), None)


def read_records(observed: Iterable[RecordObservation]) -> Records:
    """The records of a Model, oldest first."""
    ordered = sorted(observed, key=lambda record: (record.revision, record.created_at, record.name))
    verifications: list[VerificationRecord] = []
    versions: list[VersionRecord] = []
    for record in ordered:
        try:
            if record.record == RecordSort.VERIFICATION:
                verdict = VerificationData.model_validate(record.data)
                verifications.append(VerificationRecord(record.name, record.revision, verdict))
            elif record.record == RecordSort.VERSION:
                data = VersionData.model_validate(record.data)
                versions.append(VersionRecord(record.name, record.revision, data, record.data))
        except ValidationError:
            continue
    return Records(
        verifications=tuple(verifications),
        versions=tuple(versions),
        next_verification=_next(ordered, RecordSort.VERIFICATION),
        next_version=_next(ordered, RecordSort.VERSION),
    )


def _next(ordered: list[RecordObservation], sort: RecordSort) -> int:
    return max((record.revision for record in ordered if record.record == sort), default=0) + 1


def verification_record_name(model: str, version: str, digest: str) -> str:
    """One name for each (version, digest): the first verdict is the only one."""
    return f"{model}-{version}-verdict-{short_hash(model, version, digest)}"


def version_record_name(model: str, run: str) -> str:
    """One name for each run: a run records at most one version."""
    return f"{model}-{run}-version-{short_hash(model, run)}"


@dataclass(frozen=True)
class Examined:
    """Which version a Job examined, and how."""

    version: str
    digest: str
    uri: str
    origin: Origin
    job: JobObservation
    image: str


def verification_record(
    model: Model, examined: Examined, answer: Verified | Refused, *, seq: int, now: datetime
) -> Manifest:
    """The verdict of a Job as an object to create."""
    data: dict[str, Any] = {
        "version": examined.version,
        "digest": examined.digest,
        "uri": examined.uri,
        "origin": examined.origin.value,
        "image": examined.image,
        "jobName": examined.job.name,
        "jobUid": examined.job.uid,
    }
    if isinstance(answer, Verified):
        data["verdict"] = RecordedVerdict.VERIFIED.value
        data["report"] = answer.report.to_wire()
        data["verifiedAt"] = rfc3339(now)
    else:
        data["verdict"] = RecordedVerdict.REFUSED.value
        data["reason"] = answer.reason
        data["message"] = answer.message
        data["remedy"] = answer.remedy
        data["refusedAt"] = rfc3339(now)
    return record_manifest(
        model,
        NewRecord(
            name=verification_record_name(model.metadata.name, examined.version, examined.digest),
            sort=RecordSort.VERIFICATION,
            version=examined.version,
            seq=seq,
            data=data,
        ),
    )


@dataclass(frozen=True)
class NewRecord:
    """A fact to be recorded."""

    name: str
    sort: RecordSort
    version: str
    seq: int
    data: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """Besides those that every record has."""


def record_manifest(model: Model, record: NewRecord) -> Manifest:
    """A ControllerRevision of a Model."""
    metadata = model.metadata
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": record.name,
            "namespace": metadata.namespace,
            "labels": {
                Label.MANAGED_BY.value: MANAGED_BY,
                Label.MODEL.value: metadata.name,
                Label.MODEL_VERSION.value: record.version,
                Label.RECORD.value: record.sort.value,
                **record.labels,
            },
            "ownerReferences": [owner_reference(Kind.MODEL, metadata)],
        },
        "data": dict(record.data),
        "revision": record.seq,
    }


def rfc3339(moment: datetime) -> str:
    """A time as it stands in records, tokens and answers: UTC with a Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
