"""Pods obey what the operator tells them, for every step that a rollout can have."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from mooring_operator.core.decision import Route
from mooring_operator.core.rollout.steps import phase_key, routes
from mooring_operator.ids import Revision
from mooring_operator.io.signing import Signer
from mooring_operator.reconcile.messages import Messages
from mooring_operator.reconcile.snapshots import Identity as Addressee
from mooring_serving.arms import Arm
from mooring_serving.receipts import ReceiptWriter, parse_receipt
from mooring_serving.routing import RouteTable
from mooring_serving.sync import Identity, SyncGate
from tests.builders.observed import candidate, ref, stable, status
from tests.builders.resources import EPOCH, deployment, spec

V1 = ref("v1").revision
POD = Identity(
    pod_uid="pod", boot_nonce="nonce", deployment_uid="uid", model="m", version="v1",
    revision=V1, namespace="ns", started_at="2026-01-05T08:00:00Z",
)  # fmt: skip


def obeyed(route: Route, folder: Path) -> RouteTable:
    """What a pod follows after a message with this route."""
    signer, table = Signer(b"k" * 32), RouteTable()
    keys = folder / "keys.json"
    keys.write_text(json.dumps(list(signer.public_keys)))
    gate = SyncGate(POD, keys, table, monotonic=lambda: 0.0, on_route=lambda _: None)
    told = Messages(signer.sign, lambda: 1, start=0, ttl=timedelta(seconds=60)).message(
        Addressee(pod_uid="pod", boot_nonce="nonce", revision=V1, deployment_uid="uid"), route
    )
    gate.accept(json.dumps(told.body).encode())
    return table


@pytest.mark.parametrize("step", [{"weight": 1}, {"weight": 99}, {"shadow": 1}, {"shadow": 100}])
@pytest.mark.parametrize("index", [0, 19])
def test_pods_follow_and_count_every_step(step: dict[str, int], index: int, tmp_path: Path) -> None:
    wanted = deployment(spec("v2", rollout={"steps": [step] * 20})).spec
    moving = candidate("v2", step=index, seq=10**6)
    known = status(stable=stable("v1"), candidate=moving)
    told = routes(known, wanted, EPOCH)[Revision(V1)]
    followed = obeyed(told, tmp_path).current(1.0)
    assert followed.phase == phase_key(wanted.rollout.steps, moving)
    assert (followed.weight_percent, followed.shadow_percent) == (
        step.get("weight", 0),
        step.get("shadow", 0),
    )
    written = ReceiptWriter("m", "v1", V1, key=None).write(
        "0" * 16, event_time="2026-03-01T00:00:00Z", rows=1, predicted=[0.5],
        side=(Arm.STABLE, followed.phase), segments=(),
    )  # fmt: skip
    assert parse_receipt(written, None).phase == followed.phase


def test_steps_with_other_shares_are_counted_apart() -> None:
    shares = ({"weight": 5}, {"shadow": 5}, {"weight": 50}, {"weight": 10})
    drawn = (deployment(spec("v2", rollout={"steps": [share]})).spec for share in shares)
    keys = {phase_key(wanted.rollout.steps, candidate("v2")) for wanted in drawn}
    assert len(keys) == len(shares)
    assert len({key.partition("/")[0] for key in keys}) == 1, "a user stays where he is"
