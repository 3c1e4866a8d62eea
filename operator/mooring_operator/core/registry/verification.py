"""How far the verification of each version has come, and which Jobs and records it needs.

A verdict is a record, immutable, the first one for a version and digest. Until it exists the
Jobs that exist say everything: how many attempts there were, and when the next one is due.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from mooring_operator.api.conditions import Reason
from mooring_operator.api.model import VersionPhase, VersionReport, VersionStatus
from mooring_operator.core.manifests.job import attempt_name, attempt_of, verification_job_name
from mooring_operator.core.observation import JobObservation
from mooring_operator.core.registry.answers import (
    Refused,
    Unavailable,
    Verified,
    answer_of,
)
from mooring_operator.core.registry.index import KnownVersion
from mooring_operator.core.registry.records import RecordedVerdict, Records

MAX_PARALLEL = 4
"""Verification Jobs of one Model at the same time."""
MAX_SILENT = 3
"""Attempts in a row that may end without an answer before a person is asked."""
FIRST_RETRY = timedelta(seconds=15)
LONGEST_RETRY = timedelta(minutes=10)
"""Shorter than the life of a finished Job, so that the attempts are still there to count."""

NO_VERDICT = "NoVerdict"
"""Reason of a version whose Jobs end without an answer; not recorded, so not for good."""


@dataclass(frozen=True)
class Verdict:
    """An answer that is to become a record."""

    job: JobObservation
    answer: Verified | Refused


@dataclass(frozen=True)
class Assessment:
    """Where one version stands."""

    version: KnownVersion
    phase: VersionPhase
    reason: str = ""
    message: str = ""
    seq: int = 0
    """The record's number; 0 without one."""
    record: str = ""
    report: VersionReport | None = None
    job: str | None = None
    """The Job that must exist now."""
    awaits: str | None = None
    """The Job that is under way."""
    verdict: Verdict | None = None
    """What is to be recorded."""
    retry_at: datetime | None = None
    unavailable: bool = False
    """Waiting for a store, not for a Job of ours."""


def assess(
    versions: tuple[KnownVersion, ...],
    records: Records,
    jobs: Mapping[str, JobObservation],
    *,
    model: str,
    image: str,
    now: datetime,
) -> tuple[Assessment, ...]:
    """Every version's standing, with at most `MAX_PARALLEL` Jobs wanted or under way."""
    found: list[Assessment] = []
    for version in versions:
        settled = _settled(version, records)
        if settled is not None:
            found.append(settled)
            continue
        base = verification_job_name(model, version.name, version.digest, image)
        found.append(_attempted(version, base, _attempts(base, jobs), now))
    return _within_slots(found)


def number_versions(
    assessments: Sequence[Assessment], before: Sequence[VersionStatus], records: Records
) -> list[int]:
    """The number of each version: given once, when it becomes known, in the index' order.

    A version that is verified late, after its store came back, is therefore no newer than those
    that came after it. The number is in the status until the verdict's record takes it over.
    """
    given = {(version.name, version.digest): version.seq for version in before}
    following = max([records.next_verification, *(seq + 1 for seq in given.values())])
    numbers: list[int] = []
    for one in assessments:
        number = one.seq or given.get((one.version.name, one.version.digest), 0)
        if not number and not one.version.conflict:
            number, following = following, following + 1
        numbers.append(number)
    return numbers


def _settled(version: KnownVersion, records: Records) -> Assessment | None:
    """The standing of a version that needs no Job."""
    if version.conflict:
        return Assessment(
            version,
            VersionPhase.REFUSED,
            reason=Reason.VERSION_CONFLICT.value,
            message=version.conflict,
        )
    record = records.verification_of(version.name, version.digest)
    if record is None:
        return None
    data = record.data
    if data.verdict is RecordedVerdict.VERIFIED:
        return Assessment(
            version,
            VersionPhase.VERIFIED,
            seq=record.seq,
            record=record.name,
            report=data.report,
        )
    return Assessment(
        version,
        VersionPhase.REFUSED,
        reason=data.reason,
        seq=record.seq,
        message=Refused(data.reason, data.message, data.remedy).text,
        record=record.name,
    )


def _attempts(base: str, jobs: Mapping[str, JobObservation]) -> dict[int, JobObservation]:
    """The Jobs of a version that exist, by attempt, first to last."""
    numbered = {attempt_of(base, name): job for name, job in jobs.items()}
    return {number: numbered[number] for number in sorted(n for n in numbered if n is not None)}


def _attempted(
    version: KnownVersion, base: str, attempts: dict[int, JobObservation], now: datetime
) -> Assessment:
    if not attempts:
        return Assessment(version, VersionPhase.VERIFYING, job=base)
    number, job = list(attempts.items())[-1]
    if not job.finished:
        return _under_way(version, number, job, attempts.get(number - 1))
    answer = answer_of(job)
    match answer:
        case Verified() if answer.digest != version.digest:
            wrong = Refused(
                "DigestMismatch",
                f"the package has digest {answer.digest}, declared is {version.digest}",
                "declare the package's own digest under a new version name",
            )
            return _recording(version, Verdict(job, wrong))
        case Verified() | Refused():
            return _recording(version, Verdict(job, answer))
        case Unavailable():
            waiting = Assessment(
                version,
                VersionPhase.VERIFYING,
                reason=answer.reason,
                message=answer.text,
                unavailable=True,
            )
        case None:
            silent = _silent_in_a_row(attempts)
            cause = job.failure or "the Job answered nothing that counts"
            if silent >= MAX_SILENT:
                return _without_verdict(version, silent, cause)
            waiting = Assessment(version, VersionPhase.VERIFYING, reason=NO_VERDICT, message=cause)
        case _:
            assert_never(answer)
    return _next_attempt(waiting, base, number, job.created_at, now)


def _under_way(
    version: KnownVersion, number: int, job: JobObservation, before: JobObservation | None
) -> Assessment:
    """A running Job; a store that was unavailable before is still said to be so."""
    answer = None if before is None else answer_of(before)
    if isinstance(answer, Unavailable):
        return Assessment(
            version,
            VersionPhase.VERIFYING,
            reason=answer.reason,
            message=answer.text,
            awaits=job.name,
            unavailable=True,
        )
    message = f"Job {job.name} is attempt {number}" if number > 1 else f"Job {job.name}"
    if job.failure:
        message = f"{message}: {job.failure}"
    return Assessment(version, VersionPhase.VERIFYING, message=message, awaits=job.name)


def _recording(version: KnownVersion, verdict: Verdict) -> Assessment:
    """The answer is here; the phase changes once its record exists."""
    return Assessment(
        version,
        VersionPhase.VERIFYING,
        message=f"Job {verdict.job.name} answered; recording the verdict",
        verdict=verdict,
    )


def _silent_in_a_row(attempts: Mapping[int, JobObservation]) -> int:
    count = 0
    for job in reversed(list(attempts.values())):
        if answer_of(job) is not None:
            break
        count += 1
    return count


def _without_verdict(version: KnownVersion, silent: int, cause: str) -> Assessment:
    return Assessment(
        version,
        VersionPhase.REFUSED,
        reason=NO_VERDICT,
        message=(
            f"{silent} verification Jobs ended without a verdict ({cause}); raise"
            " spec.verification.timeout or make room for the Job, then delete its Jobs (label"
            f" mooring.dev/model-version={version.name}) to try again at once"
        ),
    )


def _next_attempt(
    waiting: Assessment, base: str, number: int, started: datetime, now: datetime
) -> Assessment:
    """The same standing with the next Job, or the time when it is due."""
    due = started + retry_delay(number)
    if now < due:
        return replace(waiting, retry_at=due)
    return replace(waiting, job=attempt_name(base, number + 1))


def retry_delay(attempt: int) -> timedelta:
    """From the start of an attempt that settled nothing to the start of the next one."""
    doubled = FIRST_RETRY * 2 ** min(attempt - 1, 10)
    return min(doubled, LONGEST_RETRY)


def _within_slots(found: list[Assessment]) -> tuple[Assessment, ...]:
    """The standings, with Jobs beyond `MAX_PARALLEL` put off."""
    free = MAX_PARALLEL - sum(1 for one in found if one.awaits is not None)
    out: list[Assessment] = []
    for one in found:
        if one.job is None:
            out.append(one)
        elif free > 0:
            free -= 1
            out.append(one)
        elif one.reason:
            # A further attempt: its version keeps saying what it waits for.
            out.append(replace(one, job=None))
        else:
            message = f"waits until fewer than {MAX_PARALLEL} verifications run"
            out.append(replace(one, phase=VersionPhase.PENDING, message=message, job=None))
    return tuple(out)
