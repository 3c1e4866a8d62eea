"""Where a way back leads, what may begin it, and what history keeps for it."""

from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import (
    HistoryEntry,
    ModelDeploymentStatus,
    Outcome,
    Trigger,
)
from mooring_operator.core.revision import HISTORY_LIMIT, reference_fields, with_entry
from mooring_operator.core.rollout.plan import decide
from mooring_operator.core.rollout.revert import begin_revert
from mooring_operator.core.rollout.turn import Resolved, Situation
from mooring_operator.core.rollout.way_back import last_known_good, reference_of, way_back
from tests.builders.observed import (
    candidate,
    entry,
    look,
    pods,
    quarantined,
    ref,
    stable,
    status,
    telemetry,
)
from tests.builders.resources import CONFIG, EPOCH, model, spec


def after(*history: HistoryEntry, **fields: Any) -> ModelDeploymentStatus:
    """v3 was promoted as number 3, after what `history` says."""
    known = {"stable": stable("v3", seq=3, reason="Promoted"), "desired": ref("v3")}
    return status(**(known | {"history": list(history)} | fields))


def test_way_back_is_the_newest_good_revision_before_stable() -> None:
    known = after(entry("v3", 3), entry("v2", 2), entry("v1", 1, soaked=True))
    assert way_back(known) == ref("v1"), "v2 never survived its soak"
    good = last_known_good(known)
    assert good is not None
    assert good.version == "v1"


def test_way_back_is_the_last_that_served_when_none_survived_its_soak() -> None:
    assert way_back(after(entry("v3", 3), entry("v2", 2), entry("v1", 1))) == ref("v2")


@pytest.mark.parametrize(
    "known",
    [
        status(stable=None),
        after(entry("v3", 3)),
        after(entry("v3", 3), entry("v2", 2, Outcome.ROLLED_BACK)),
        after(entry("v3", 3), entry("v2", 2), quarantine=[quarantined("v2")]),
        after(entry("v3", 3), entry("v2", 2, uri=None)),
        after(entry("v3", 3), entry("v2", 2), entry("v3", 1)),
        after(entry("v3", 3), entry("v2", 2)).model_copy(
            update={"stable": stable("v3", seq=3, reason="RolledBack")}
        ),
        after(entry("v3", 3), entry("v2", 2)).model_copy(
            update={"stable": stable("v3", seq=3, reason="Initialized")}
        ),
    ],
    ids=[
        "nothing serves",
        "nothing served before",
        "what was before failed",
        "what was before is in quarantine",
        "an older operator did not keep where it is",
        "stable served before what it followed",
        "stable took the role back",
        "stable is the first",
    ],
)
def test_there_is_no_way_back_when(known: ModelDeploymentStatus) -> None:
    assert way_back(known) is None


def test_revision_is_known_by_its_warm_pods_when_history_did_not_keep_it() -> None:
    warm = {"keep_until": EPOCH + timedelta(hours=1)}
    retired = stable("v2").model_copy()
    known = after(entry("v3", 3), entry("v2", 2, uri=None)).model_dump(by_alias=True)
    known["retired"] = reference_fields(retired) | warm
    found = ModelDeploymentStatus.model_validate(known)
    assert reference_of(found, found.history[1]) == ref("v2")


def test_history_drops_the_oldest_but_never_the_last_ways_back() -> None:
    history = [entry("v2", 2), entry("v1", 1, soaked=True)]
    for seq in range(3, 3 + 2 * HISTORY_LIMIT):
        history = with_entry(history, entry("v3", seq, Outcome.ROLLED_BACK))
    assert len(history) == HISTORY_LIMIT
    assert [known.version for known in history[-2:]] == ["v2", "v1"]
    assert [known.seq for known in history] == sorted((k.seq for k in history), reverse=True)


def situation(known: ModelDeploymentStatus) -> Situation:
    observation = look(known, pods("v3"), wire_spec=spec("v3"))
    now = EPOCH + timedelta(hours=1)
    return Situation(observation, CONFIG, now, Resolved(ref("v3")), before=known, status=known)


@pytest.mark.parametrize("version", ["v3", "v2"])
def test_stable_is_not_left_for_itself_or_for_what_is_in_quarantine(version: str) -> None:
    known = after(entry("v3", 3), entry("v2", 2), quarantine=[quarantined("v2")])
    with pytest.raises(ValueError, match=f"{version} .* (serves already|is in quarantine)"):
        begin_revert(situation(known), ref(version), Trigger.MANUAL, Reason.ROLLED_BACK, "said so")


def test_candidate_is_withdrawn_first_when_stable_is_left() -> None:
    now = EPOCH + timedelta(hours=1)
    analysed = candidate("v4", seq=4)
    known = after(entry("v3", 3), entry("v1", 1), candidate=analysed, desired=ref("v4"))
    turn = begin_revert(
        situation(known), ref("v1"), Trigger.MANUAL, Reason.ROLLED_BACK, "a person said so"
    )
    observation = look(
        turn.status,
        pods("v3"),
        pods("v4", 1, 1),
        wire_spec=spec("v4"),
        registry=model("v1", "v3", "v4"),
        telemetry=telemetry(at=now),
    )
    first = decide(observation, CONFIG, now).status
    assert first.candidate is not None
    assert first.candidate.stage == "Withdrawing"
    later = decide(
        look(
            first,
            pods("v3"),
            pods("v4", 1, 1),
            wire_spec=spec("v4"),
            registry=model("v1", "v3", "v4"),
        ),
        CONFIG,
        now + CONFIG.sync_ttl,
    ).status
    assert later.candidate is not None
    assert (later.candidate.version, later.candidate.stage) == ("v1", "Reverting")
    assert later.history[0].cause == "the stable revision is left"
    assert later.phase == "RollingBack"


def test_attempt_ends_at_once_when_a_foreign_object_has_the_older_revisions_name() -> None:
    now = EPOCH + timedelta(hours=1)
    known = after(entry("v3", 3), entry("v1", 1))
    turn = begin_revert(situation(known), ref("v1"), Trigger.MANUAL, Reason.ROLLED_BACK, "so said")
    taken = f"Deployment delays-{ref('v1').revision}"
    observation = look(turn.status, pods("v3"), wire_spec=spec("v3"), foreign=(taken,))
    found = decide(observation, CONFIG, now).status
    assert found.revert is None
    assert found.stable is not None
    assert found.stable.failed_return is not None
    assert taken in found.stable.failed_return.message


def test_attempt_is_called_off_when_the_older_revision_came_into_quarantine() -> None:
    known = after(entry("v3", 3), entry("v1", 1))
    turn = begin_revert(situation(known), ref("v1"), Trigger.MANUAL, Reason.ROLLED_BACK, "so said")
    held = turn.status.model_copy(update={"quarantine": [quarantined("v1")]})
    observation = look(held, pods("v3"), wire_spec=spec("v3"))
    found = decide(observation, CONFIG, EPOCH + timedelta(hours=1)).status
    assert found.revert is None
    assert found.candidate is None
    assert found.phase == "Stable (soaking)" or found.phase == "Stable"


def test_returning_revision_with_more_pods_takes_over_at_the_deadline() -> None:
    known = after(entry("v3", 3), entry("v1", 1))
    turn = begin_revert(situation(known), ref("v1"), Trigger.MANUAL, Reason.ROLLED_BACK, "so said")
    wanted = spec("v3", replicas=4)
    begun = decide(
        look(turn.status, pods("v3", 1, 4), wire_spec=wanted), CONFIG, EPOCH + timedelta(hours=1)
    ).status
    late = EPOCH + timedelta(hours=2)
    seen = (pods("v3", 1, 4), pods("v1", 3, 4))
    found = decide(look(begun, *seen, wire_spec=wanted), CONFIG, late).status
    assert found.stable is not None
    assert found.stable.version == "v1"
    assert found.last_rollback is not None
    assert found.last_rollback.trigger is Trigger.MANUAL
