"""Labels through sync: cohorts of all pods, dead ones included, judged at the window's end."""

from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.core.quality.watch import QualityWatch
from mooring_operator.errors import PodRefused
from mooring_operator.ids import Revision
from mooring_operator.reconcile.cohort_sums import cohorts_of, plus, segment_cohorts_of
from mooring_operator.reconcile.snapshots import parse_snapshot
from tests.unit.shell.synced_world import KEY, R1, R2, STABLE, World
from tests.unit.shell.test_shell_drift_watch import CALM, PROFILE, counters

HOUR = timedelta(hours=1)
LABELS = {"maturity": "6h", "cohort": "1h"}


def cohort(rows: int, labels: int, loss: float) -> dict[str, Any]:
    return {
        "rows": rows,
        "n": labels,
        "lossSum": labels * loss,
        "lossSquaredSum": labels * loss * loss,
        "confusion": {"tp": labels, "fp": 0, "fn": 0, "tn": 0},
    }


def counted(world: World, hours_ago: int, revision: str = R1, *, loss: float = 0.5) -> Any:
    begin = int((world.clock.now() - hours_ago * HOUR).timestamp()) // 3600 * 3600
    cohorts = {f"{revision}/{begin + 3600 * k}": cohort(500, 400, loss) for k in range(8)}
    return {**counters(CALM), "cohortSeconds": 3600, "cohorts": cohorts}


def told(world: World) -> QualityWatch:
    quality = world.seen().quality
    assert quality is not None
    return quality


def watched(**quality: Any) -> World:
    world = World()
    world.declare(window="5m", labels=LABELS, quality={"ceiling": 0.2, **quality})
    world.pods.profiles = {R1: PROFILE, R2: PROFILE}
    return world


async def window(world: World) -> None:
    await world.clock.advance(300.0)
    await world.sync.round(KEY)


async def test_labels_of_all_pods_are_judged_when_a_window_ends() -> None:
    world = watched()
    world.add("1", R1, **counted(world, 20))
    world.add("2", R1, **counted(world, 20))
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    assert told(world).labels is None
    await window(world)
    labels = told(world).labels
    assert labels is not None
    assert (labels.verdict, labels.labelled) == ("Degraded", 8 * 2 * 400)
    value = world.metrics.registry.get_sample_value(
        "mooring_quality_loss", {"namespace": KEY.namespace, "deployment": KEY.name}
    )
    assert value == 0.5


async def test_labels_of_a_pod_that_is_gone_still_count() -> None:
    world = watched()
    world.add("1", R1, **counted(world, 20))
    world.add("2", R1, **counted(world, 20))
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    world.remove("2", R1)
    await window(world)
    labels = told(world).labels
    assert labels is not None
    assert labels.labelled == 8 * 2 * 400


async def test_labels_of_another_revision_do_not_speak_for_this_one() -> None:
    world = watched()
    world.add("1", R1, **counted(world, 20, R2))
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    await window(world)
    labels = told(world).labels
    assert labels is not None
    assert (labels.verdict, labels.labelled) == ("Immature", 0)


def test_nonsense_cohorts_are_left_out() -> None:
    names = [f"{R1}/x", f"{R1}/-5", "7200", f"{R1}/99999999999", f"{R1}/3600", f"{R1}/7200"]
    document = {
        "podUid": "u",
        "bootNonce": "b",
        "revision": R1,
        "cohortSeconds": 3600,
        "cohorts": {name: cohort(5, 3, 0.5) for name in names}
        | {f"{R1}/7200": {"n": 1, "lossSum": 9.0, "lossSquaredSum": 1.0}},
    }
    snapshot = parse_snapshot(document, "pod")
    found = cohorts_of(plus({}, [snapshot]), Revision(R1), HOUR)
    assert [(item.start.timestamp(), item.predicted) for item in found] == [(3600, 5)]


def test_more_labels_than_predictions_are_taken_as_so_many_predictions() -> None:
    document = {
        "podUid": "u",
        "bootNonce": "b",
        "revision": R1,
        "cohortSeconds": 3600,
        "cohorts": {f"{R1}/3600": cohort(0, 3, 0.5)},
    }
    (found,) = cohorts_of(plus({}, [parse_snapshot(document, "pod")]), Revision(R1), HOUR)
    assert (found.predicted, found.losses.n) == (3, 3)


async def test_labels_that_two_pods_were_told_are_known_though_one_is_gone() -> None:
    world = watched()
    same = [f"{number:016x}" for number in range(3, 40)]
    world.add("1", R1, **counted(world, 20), labelSample=same)
    world.add("2", R1, **counted(world, 20), labelSample=same)
    world.sync.push(KEY, {R1: STABLE})
    await world.sync.round(KEY)
    world.remove("2", R1)
    await window(world)
    duplicates = told(world).duplicates
    assert duplicates is not None
    assert (duplicates.share, duplicates.design_effect) == (0.5, 2.0)


def test_segments_of_all_pods_are_added_by_their_place_in_the_profile() -> None:
    numbers = [10, 4, 2.0, 1.0, 1, 1, 1, 1]
    documents = [
        {
            "podUid": f"pod-{place}",
            "bootNonce": "b",
            "revision": R1,
            "cohortSeconds": 3600,
            "cohorts": {f"{R1}/3600": cohort(20, 8, 0.5) | {"segments": segments}},
        }
        for place, segments in enumerate([{"0": numbers, "1": numbers}, {"1": numbers}])
    ]
    sums = plus({}, [parse_snapshot(document, "pod") for document in documents])
    found = segment_cohorts_of(sums, Revision(R1), HOUR, ["carrier=AA", "carrier=UA"])
    assert [item.predicted for item in found["carrier=AA"]] == [10]
    assert [(item.predicted, item.losses.n) for item in found["carrier=UA"]] == [(20, 8)]
    assert segment_cohorts_of(sums, Revision(R1), HOUR, []) == {}


@pytest.mark.parametrize(
    "segments",
    [{"20": [0] * 8}, {"-1": [0] * 8}, {"x": [0] * 8}, {"0": [0] * 7}, {"0": [-1] + [0] * 7}],
)
def test_nonsense_segments_of_a_pod_are_refused(segments: dict[str, list[int]]) -> None:
    document = {
        "podUid": "u",
        "bootNonce": "b",
        "revision": R1,
        "cohorts": {f"{R1}/3600": {"rows": 1, "segments": segments}},
    }
    with pytest.raises(PodRefused):
        parse_snapshot(document, "pod")
