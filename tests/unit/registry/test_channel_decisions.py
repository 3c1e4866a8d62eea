"""Where channels point, who uses which version, and what a rollback elsewhere means."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.model import ModelStatus
from mooring_operator.core.decision import Decision
from mooring_operator.core.observation import RecordObservation
from tests.builders.registry import (
    NEWEST,
    declared,
    look,
    quarantining,
    registry_model,
    unavailable_answer,
    verdict_record,
    verify_job,
    version_record,
    with_status,
)
from tests.builders.resources import EPOCH, deployment, digest_of

PINNED = {"name": "live", "version": "v1"}
V1, V2, V3 = verdict_record("v1", 1), verdict_record("v2", 2), verdict_record("v3", 3)
REFUSED_V2 = verdict_record("v2", 2, "Refused", reason="LoadFailed", message="no such operator")


def true_condition(decision: Decision[ModelStatus]) -> tuple[str, str, str]:
    return next(
        (condition.type, condition.reason, condition.message)
        for condition in decision.status.conditions
        if condition.type in ("Ready", "Reconciling", "Stalled") and condition.status == "True"
    )


def pointers(decision: Decision[ModelStatus]) -> dict[str, tuple[str, int]]:
    return {channel.name: (channel.version, channel.seq) for channel in decision.status.channels}


def following(
    *versions: str,
    records: Iterable[RecordObservation],
    deployments: Iterable[ModelDeployment] = (),
    before: ModelStatus | None = None,
) -> Decision[ModelStatus]:
    resource = registry_model(*versions, channels=[NEWEST], status=before)
    return look(
        resource, records=records, deployments=deployments, after=timedelta(minutes=len(versions))
    )


def test_follower_points_to_the_version_verified_last() -> None:
    decision = following("v2", "v1", records=[V1, V2])
    assert pointers(decision) == {"live": ("v2", 1)}
    assert decision.status.channels[0].digest == digest_of("v2")
    assert decision.status.channels[0].since == EPOCH + timedelta(minutes=2)


def test_follower_moves_once_when_a_newer_version_is_verified() -> None:
    first = following("v1", records=[V1])
    second = following("v1", "v2", records=[V1, V2], before=first.status)
    assert pointers(second) == {"live": ("v2", 2)}
    assert "channel live moved to v2 from v1 (move 2)" in [e.message for e in second.events]
    third = following("v1", "v2", records=[V1, V2], before=second.status)
    assert third.status.channels == second.status.channels
    assert third.events == ()


def test_follower_is_not_moved_back_by_a_version_that_is_verified_late() -> None:
    resource = registry_model("v1", "v2", channels=[NEWEST])
    first = look(resource)
    early = with_status(resource, first.status)
    second = look(early, records=[V2])
    assert pointers(second) == {"live": ("v2", 1)}
    third = look(with_status(resource, second.status), records=[V1, V2])
    assert pointers(third) == {"live": ("v2", 1)}


def test_follower_takes_a_recorded_version() -> None:
    first = following("v1", records=[V1])
    records = [V1, version_record("run-1"), verdict_record("run-1", 2)]
    second = following("v1", records=records, before=first.status)
    assert pointers(second) == {"live": ("run-1", 2)}


def test_follower_does_not_advance_to_a_version_that_was_rolled_back() -> None:
    first = following("v1", records=[V1])
    second = following(
        "v1", "v2", records=[V1, V2], deployments=[quarantining("v2")], before=first.status
    )
    assert pointers(second) == {"live": ("v1", 1)}
    assert true_condition(second)[0] == "Ready"
    assert "channel live stays at v1: v2 was rolled back in delays" in true_condition(second)[2]
    assert second.status.versions[1].rejected_in == ["delays"]


def test_follower_stays_when_the_version_it_points_to_is_rolled_back() -> None:
    first = following("v1", "v2", records=[V1, V2])
    second = following(
        "v1", "v2", records=[V1, V2], deployments=[quarantining("v2")], before=first.status
    )
    assert pointers(second) == {"live": ("v2", 1)}
    assert second.events == ()


def test_follower_passes_over_a_rejected_version_to_a_newer_one() -> None:
    first = following("v1", "v2", records=[V1, V2])
    second = following(
        "v1",
        "v2",
        "v3",
        records=[V1, V2, V3],
        deployments=[quarantining("v2")],
        before=first.status,
    )
    assert pointers(second) == {"live": ("v3", 2)}


def test_quarantine_of_another_package_of_that_name_does_not_count() -> None:
    other = quarantining("v2", digest_of("other"))
    decision = following("v1", "v2", records=[V1, V2], deployments=[other])
    assert pointers(decision) == {"live": ("v2", 1)}


def test_follower_leaves_a_version_that_people_removed() -> None:
    first = following("v1", "v2", records=[V1, V2])
    second = following("v1", records=[V1, V2], before=first.status)
    assert pointers(second) == {"live": ("v1", 2)}


def test_follower_keeps_a_version_that_is_verified_again() -> None:
    first = following("v1", "v2", records=[V1, V2])
    second = following("v1", "v2", records=[V1], before=first.status)
    assert pointers(second) == {"live": ("v2", 1)}
    assert true_condition(second)[:2] == ("Reconciling", "Verifying")


def test_follower_keeps_its_version_when_the_name_is_disputed() -> None:
    first = following("v1", records=[V1, version_record("run-1"), verdict_record("run-1", 2)])
    disputed = registry_model(
        "v1",
        declared("run-1", digest=digest_of("other")),
        channels=[NEWEST],
        status=first.status,
    )
    second = look(disputed, records=[V1, version_record("run-1"), verdict_record("run-1", 2)])
    assert pointers(second) == {"live": ("run-1", 1)}
    assert true_condition(second)[:2] == ("Stalled", "VersionConflict")


def test_follower_without_any_version_says_what_to_do() -> None:
    type_, reason, message = true_condition(following(records=[]))
    assert (type_, reason) == ("Stalled", "ChannelUnresolved")
    assert "declare another version under spec.versions" in message


def test_follower_is_unresolved_when_every_version_was_rolled_back() -> None:
    decision = following("v2", records=[V2], deployments=[quarantining("v2")])
    assert pointers(decision) == {}
    type_, reason, message = true_condition(decision)
    assert (type_, reason) == ("Stalled", "ChannelUnresolved")
    assert "rolled back somewhere (v2)" in message


def test_follower_waits_while_its_only_version_has_no_store() -> None:
    resource = registry_model("v1", channels=[NEWEST])
    decision = look(resource, jobs=[verify_job("v1", unavailable_answer())])
    assert true_condition(decision)[:2] == ("Reconciling", "StoreUnavailable")


def test_pin_points_to_a_verified_version_even_if_it_was_rolled_back() -> None:
    pin = {"name": "live", "version": "v2"}
    resource = registry_model("v1", "v2", channels=[pin])
    decision = look(resource, records=[V1, V2], deployments=[quarantining("v2")])
    assert pointers(decision) == {"live": ("v2", 1)}


def test_pin_moves_back_when_people_say_so() -> None:
    first = following("v1", "v2", records=[V1, V2])
    resource = registry_model("v1", "v2", channels=[PINNED], status=first.status)
    second = look(resource, records=[V1, V2])
    assert pointers(second) == {"live": ("v1", 2)}


@pytest.mark.parametrize(
    ("versions", "records", "reason", "said"),
    [
        pytest.param(["v1"], [V1], "ChannelUnresolved", "does not have", id="unknown"),
        pytest.param(["v1", "v2"], [V1], "Verifying", "verifying v2", id="still verified"),
        pytest.param(["v1", "v2"], [V1, REFUSED_V2], "VersionRefused", "LoadFailed", id="refused"),
    ],
)
def test_pin_keeps_the_earlier_pointer_when_its_version_is_not_verified(
    versions: list[str], records: list[RecordObservation], reason: str, said: str
) -> None:
    first = following("v1", records=[V1])
    pin = {"name": "live", "version": "v2"}
    resource = registry_model(*versions, channels=[pin], status=first.status, generation=2)
    second = look(resource, records=records)
    assert pointers(second) == {"live": ("v1", 1)}
    assert true_condition(second)[1] == reason
    assert said in true_condition(second)[2]


def test_pin_to_a_refused_recorded_version_is_unresolved() -> None:
    records = [
        V1,
        version_record("run-1"),
        verdict_record("run-1", 2, "Refused", reason="LoadFailed", message="no such operator"),
    ]
    resource = registry_model("v1", channels=[{"name": "live", "version": "run-1"}])
    type_, reason, message = true_condition(look(resource, records=records))
    assert (type_, reason) == ("Stalled", "ChannelUnresolved")
    assert message.endswith("pin a verified version")


def test_removed_channel_loses_its_pointer() -> None:
    first = following("v1", records=[V1])
    second = look(registry_model("v1", status=first.status), records=[V1])
    assert second.status.channels == []


def test_lost_status_is_rebuilt_from_the_records() -> None:
    records = [V1, V2]
    told = following("v1", "v2", records=records)
    again = look(registry_model("v1", "v2", channels=[NEWEST]), records=records)
    assert [v.to_wire() for v in again.status.versions] == [
        v.to_wire() for v in told.status.versions
    ]
    assert pointers(again) == pointers(told)
    assert again.children == ()


def test_uses_name_stable_and_candidate() -> None:
    revision = {"uri": "s3://models/v", "image": "i", "digest": digest_of("v1")}
    stable = revision | {
        "revision": "a" * 12,
        "version": "v1",
        "since": EPOCH,
        "seq": 1,
        "reason": "Promoted",
    }
    candidate = revision | {
        "revision": "b" * 12,
        "version": "v2",
        "stage": "Analysing",
        "seq": 2,
        "startedAt": EPOCH,
        "stepStartedAt": EPOCH,
    }
    user = deployment(status={"stable": stable, "candidate": candidate})
    idle = deployment()
    decision = look(registry_model("v1", "v2"), records=[V1, V2], deployments=[user, idle])
    assert [(u.deployment, u.version, u.role) for u in decision.status.used_by] == [
        ("delays", "v1", "Stable"),
        ("delays", "v2", "Candidate"),
    ]


def test_second_look_changes_nothing() -> None:
    resource = registry_model("v1", "v2", "v3", channels=[NEWEST, PINNED | {"name": "dr"}])
    jobs = [verify_job("v3", unavailable_answer())]
    first = look(resource, jobs=jobs, records=[V1, REFUSED_V2])
    second = look(with_status(resource, first.status), jobs=jobs, records=[V1, REFUSED_V2])
    assert second.status.to_wire() == first.status.to_wire()
    assert second.events == ()
