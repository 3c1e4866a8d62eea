"""The sync endpoint: who is obeyed, what is refused, and what happens in silence."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.serving.running_server import KEY, Server, await_true, raw_public_key, running
from tests.serving.served_packages import cancer_package

STRANGER = Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def pod() -> Iterator[Server]:
    with running(cancer_package()) as server:
        yield server


Change = Callable[[dict[str, Any]], dict[str, Any]]


def with_(**fields: object) -> Change:
    return lambda payload: payload | fields


def route(**fields: object) -> Change:
    return lambda payload: payload | {"route": payload["route"] | fields}


def without(field: str) -> Change:
    return lambda payload: {key: value for key, value in payload.items() if key != field}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param(with_(podUid="pod-2"), 409, id="another pod"),
        pytest.param(with_(deploymentUid="other"), 409, id="another deployment"),
        pytest.param(with_(bootNonce="00" * 16), 409, id="an earlier boot"),
        pytest.param(with_(epoch=0), 409, id="an earlier epoch"),
        pytest.param(with_(counter=0), 409, id="an earlier counter"),
        pytest.param(without("bootNonce"), 400, id="no nonce"),
        pytest.param(without("route"), 400, id="no route"),
        pytest.param(with_(epoch="1"), 400, id="epoch as text"),
        pytest.param(with_(counter=-1), 400, id="negative counter"),
        pytest.param(with_(ttlSeconds=0), 400, id="no time to live"),
        pytest.param(with_(ttlSeconds=1e9), 400, id="endless time to live"),
        pytest.param(route(role="Leader"), 400, id="unknown role"),
        pytest.param(route(weightPercent=101), 400, id="weight above 100"),
        pytest.param(route(weightPercent=-1), 400, id="negative weight"),
        pytest.param(route(shadowPercent="5"), 400, id="share as text"),
        pytest.param(route(deadlineMs=0), 400, id="no deadline"),
        pytest.param(route(stickyHeader="X-User"), 400, id="header not in lower case"),
        pytest.param(route(stickyHeader="x\r\ny"), 400, id="header with a line break"),
        pytest.param(route(stableRevision="a" * 64), 400, id="long stable revision"),
        pytest.param(route(phase="no step"), 400, id="phase of another form"),
        pytest.param(route(phase="a" * 200 + "/1"), 400, id="very long phase"),
    ],
)
def test_message_is_refused(pod: Server, change: Change, status: int) -> None:
    pod.sync()
    answer = pod.send(change(pod.payload()))
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]


def test_message_is_refused_when_it_is_replayed(pod: Server) -> None:
    payload = pod.payload()
    assert pod.send(payload).status_code == 200
    assert pod.send(payload).status_code == 409


def test_message_is_refused_when_a_stranger_signed_it(pod: Server) -> None:
    assert pod.send(pod.payload(), STRANGER).status_code == 403


def test_message_is_refused_when_its_payload_was_changed(pod: Server) -> None:
    raw = json.dumps(pod.payload()).encode()
    changed = raw.replace(b'"weightPercent": 0', b'"weightPercent": 9')
    assert raw != changed
    message = {
        "payload": base64.b64encode(changed).decode(),
        "signature": base64.b64encode(KEY.sign(raw)).decode(),
    }
    answer = pod.client.post(pod.managed("/mooring/v1/sync"), json=message)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"payload": 1, "signature": ""}', b'{"payload": "!", "signature": "!"}'],
)
def test_message_is_400_when_it_is_no_envelope(pod: Server, body: bytes) -> None:
    assert pod.client.post(pod.managed("/mooring/v1/sync"), content=body).status_code == 400


def test_message_larger_than_the_limit_is_413(pod: Server) -> None:
    answer = pod.client.post(pod.managed("/mooring/v1/sync"), content=b"x" * 100_000)
    assert answer.status_code == 413


def test_later_epoch_is_obeyed_with_a_smaller_counter() -> None:
    with running(cancer_package()) as pod:
        pod.sync()
        assert pod.send(pod.payload() | {"epoch": 2, "counter": 0}).status_code == 200
        assert pod.send(pod.payload()).status_code == 409


def test_sync_is_off_without_keys() -> None:
    with running(cancer_package(), MOORING_SYNC_KEYS="") as pod:
        answer = pod.send(pod.payload())
        assert (answer.status_code, "MOORING_SYNC_KEYS" in answer.text) == (403, True)


def test_key_rotates_without_a_restart(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([raw_public_key()]))
    with running(cancer_package(), MOORING_SYNC_KEYS=str(keys)) as pod:
        assert pod.send(pod.payload(), STRANGER).status_code == 403
        keys.write_text(json.dumps([raw_public_key(), raw_public_key(STRANGER)]))
        assert pod.send(pod.payload()).status_code == 200
        assert pod.send(pod.payload(), STRANGER).status_code == 200
        keys.write_text("not json")
        assert pod.send(pod.payload()).status_code == 403


def test_snapshot_names_the_pod_and_what_it_acknowledged(pod: Server) -> None:
    snapshot = pod.sync()
    assert snapshot["acknowledged"] == {"epoch": 1, "counter": pod.counter}
    assert (snapshot["podUid"], snapshot["revision"]) == ("pod-1", "aaaaaaaaaaaa")
    assert snapshot["bootNonce"] == pod.identity()["bootNonce"]
    assert len(snapshot["counts"]) == 30 + len(("@score", "@reconstruction"))


@pytest.mark.parametrize(
    ("accepted", "packed"), [("gzip", True), ("gzip, deflate", True), ("identity", False)]
)
def test_large_answer_is_compressed_when_the_operator_accepts_it(
    pod: Server, accepted: str, packed: bool
) -> None:
    def ask(path: str) -> httpx.Response:
        return pod.client.get(pod.managed(path), headers={"accept-encoding": accepted})

    profile, identity = ask("/mooring/v1/profile"), ask("/mooring/v1/identity")
    assert (profile.headers.get("content-encoding") == "gzip") is packed
    assert len(profile.json()["features"]) == 30
    assert identity.headers.get("content-encoding") is None


def test_boot_nonce_is_another_after_a_restart() -> None:
    with running(cancer_package()) as first, running(cancer_package()) as second:
        assert first.identity()["bootNonce"] != second.identity()["bootNonce"]


def test_weight_falls_to_zero_when_the_operator_is_silent() -> None:
    """The peer's port is closed, so that each forward that is tried is counted as refused."""
    with running(cancer_package(), peer=9) as pod:
        pod.sync(ttl=1.0, phase="bbbbbbbbbbbb/1", weightPercent=100, deadlineMs=200)
        request = {
            "inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 30], "data": [1.0] * 30}]
        }

        def forwards() -> float:
            assert pod.post("/v2/models/cancer/infer", request).status_code == 200
            text = pod.metrics()
            return sum(
                float(line.rpartition(" ")[2])
                for line in text.splitlines()
                if line.startswith("mooring_forwards_total")
            )

        assert forwards() == 1

        def is_quiet() -> bool:
            return forwards() == forwards()

        await_true(is_quiet, seconds=5, what="the end of forwarding")
