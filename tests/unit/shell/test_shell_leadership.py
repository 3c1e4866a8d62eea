import asyncio
from typing import Any

import pytest

from mooring_operator.core.decision import Manifest
from mooring_operator.errors import LeadershipLost, Transient
from mooring_operator.io.lease import LeaseStore
from mooring_operator.reconcile.leadership import Elector, LeaseTimes, SoleLeader, first_epoch
from tests.unit.shell.manual_clock import START, ManualClock, no_jitter, settle
from tests.unit.shell.memory_kube import MemoryKube

TIMES = LeaseTimes(lease=15.0, renew=10.0, retry=2.0)


def _elector(kube: MemoryKube, clock: ManualClock, identity: str) -> Elector:
    store = LeaseStore(kube, namespace="s", name="l", seconds=15)
    return Elector(store, clock, identity=identity, times=TIMES, jitter=no_jitter)


def _holder(kube: MemoryKube) -> str:
    return kube.objects["Lease", "s", "l"]["spec"]["holderIdentity"]


async def test_first_candidate_leads_at_once() -> None:
    kube, clock = MemoryKube(), ManualClock()
    one = _elector(kube, clock, "one")
    await one.acquire()
    assert one.leads
    assert one.epoch == first_epoch(START)
    one.require()


async def test_second_candidate_leads_only_after_the_lease_ran_out() -> None:
    kube, clock = MemoryKube(), ManualClock()
    one, two = _elector(kube, clock, "one"), _elector(kube, clock, "two")
    await one.acquire()  # and is killed: never renews
    waiting = asyncio.create_task(two.acquire())
    await clock.advance(14.0)
    assert not waiting.done()
    assert not one.leads, "the old leader stops writing before the new one starts"
    with pytest.raises(LeadershipLost):
        one.require()
    await clock.advance(5.0)
    assert waiting.done()
    assert two.epoch == one.epoch + 1


async def test_leader_stays_while_it_renews() -> None:
    kube, clock = MemoryKube(), ManualClock()
    one, two = _elector(kube, clock, "one"), _elector(kube, clock, "two")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    waiting = asyncio.create_task(two.acquire())
    await clock.advance(300.0)
    assert one.leads
    assert not waiting.done()
    keeping.cancel()
    waiting.cancel()


async def test_leader_gives_up_when_the_api_server_is_away_too_long() -> None:
    kube, clock = MemoryKube(), ManualClock()
    one = _elector(kube, clock, "one")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    kube.fail = lambda verb, what: Transient("away")
    await clock.advance(9.0)
    assert not keeping.done()
    await clock.advance(4.0)
    with pytest.raises(LeadershipLost):
        await keeping


async def test_leader_survives_a_short_outage() -> None:
    kube, clock = MemoryKube(), ManualClock()
    one = _elector(kube, clock, "one")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    kube.fail = lambda verb, what: Transient("away")
    await clock.advance(7.0)
    kube.fail = lambda verb, what: None
    await clock.advance(60.0)
    assert one.leads
    keeping.cancel()


async def test_leader_gives_up_when_somebody_took_the_lease() -> None:
    kube, clock = MemoryKube(), ManualClock()
    one = _elector(kube, clock, "one")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    stolen = kube.objects["Lease", "s", "l"]
    stolen["spec"]["holderIdentity"] = "thief"
    kube.put(stolen)
    await clock.advance(3.0)
    with pytest.raises(LeadershipLost, match="thief"):
        await keeping


async def test_released_lease_is_taken_at_once() -> None:
    kube, clock = MemoryKube(), ManualClock()
    one, two = _elector(kube, clock, "one"), _elector(kube, clock, "two")
    await one.acquire()
    await one.release()
    assert _holder(kube) == ""
    assert not one.leads
    await two.acquire()
    assert two.leads
    assert clock.monotonic() == 0.0


async def test_released_lease_stays_free_when_a_renewal_was_under_way() -> None:
    kube, clock = MemoryKube(), ManualClock()
    one = _elector(kube, clock, "one")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    answered, write = asyncio.Event(), kube.patch

    async def slowly(*given: Any, **named: Any) -> Manifest:
        await answered.wait()
        return await write(*given, **named)

    kube.patch = slowly
    await clock.advance(2.0)
    giving_back = asyncio.create_task(one.release())
    await settle()
    assert _holder(kube) == "one", "the renewal is still on its way"
    answered.set()
    await giving_back
    assert _holder(kube) == ""
    await clock.advance(60.0)
    assert _holder(kube) == "", "nobody took it back"
    assert not keeping.done(), "given back is not lost: the process ends in its own time"
    keeping.cancel()


async def test_restarted_process_of_the_same_name_continues_its_lease() -> None:
    kube, clock = MemoryKube(), ManualClock()
    await _elector(kube, clock, "pod-0").acquire()
    again = _elector(kube, clock, "pod-0")
    await again.acquire()
    assert again.leads
    assert clock.monotonic() == 0.0


async def test_epoch_does_not_fall_when_the_lease_was_deleted() -> None:
    kube, clock = MemoryKube(), ManualClock()
    one = _elector(kube, clock, "one")
    await one.acquire()
    del kube.objects["Lease", "s", "l"]
    await clock.advance(120.0)
    two = _elector(kube, clock, "two")
    await two.acquire()
    assert two.epoch > one.epoch


async def test_sole_leader_follows_on_the_epoch_of_the_lease() -> None:
    kube, clock = MemoryKube(), ManualClock()
    one = _elector(kube, clock, "one")
    await one.acquire()
    sole = SoleLeader(LeaseStore(kube, namespace="s", name="l", seconds=15), clock)
    await sole.acquire()
    await settle()
    assert sole.epoch == one.epoch
