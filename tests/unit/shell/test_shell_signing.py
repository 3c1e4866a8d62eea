import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mooring_operator.errors import Refused
from mooring_operator.io.signing import SECRET_NAME, Signer, load_signer
from tests.unit.shell.memory_kube import MemoryKube


def _public(signer: Signer, index: int = 0) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(signer.public_keys[index]))


def test_signature_fits_the_published_key_and_no_other_payload() -> None:
    signer = Signer(bytes(range(32)))
    signature = base64.b64decode(signer.sign(b"payload"))
    _public(signer).verify(signature, b"payload")
    with pytest.raises(InvalidSignature):
        _public(signer).verify(signature, b"other")


async def test_key_is_created_once_and_shared_by_replicas() -> None:
    kube = MemoryKube()
    one = await load_signer(kube, "mooring-system")
    two = await load_signer(kube, "mooring-system")
    assert one.public_keys == two.public_keys
    assert [what for _, what in kube.writes()] == [f"Secret mooring-system/{SECRET_NAME}"]


async def test_next_key_is_published_before_it_signs() -> None:
    kube = MemoryKube()
    await load_signer(kube, "s")
    secret = kube.objects["Secret", "s", SECRET_NAME]
    secret["data"]["next"] = base64.b64encode(bytes(32)).decode()
    kube.put(secret)
    signer = await load_signer(kube, "s")
    assert len(signer.public_keys) == 2
    _public(signer, 0).verify(base64.b64decode(signer.sign(b"x")), b"x")


@pytest.mark.parametrize("data", [{}, {"current": "!"}, {"current": "YWJj"}])
async def test_unusable_secret_is_refused_with_a_remedy(data: dict[str, str]) -> None:
    kube = MemoryKube()
    await load_signer(kube, "s")
    kube.put({**kube.objects["Secret", "s", SECRET_NAME], "data": data})
    with pytest.raises(Refused, match="Delete the Secret"):
        await load_signer(kube, "s")


@pytest.mark.parametrize(
    ("type_", "labels"),
    [
        ("Opaque", {"app.kubernetes.io/managed-by": "mooring"}),
        ("mooring.dev/sync-key", {}),
        ("mooring.dev/sync-key", {"app.kubernetes.io/managed-by": "Helm"}),
    ],
)
async def test_usable_key_of_somebody_else_is_refused_with_a_remedy(
    type_: str, labels: dict[str, str]
) -> None:
    kube = MemoryKube()
    planted = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET_NAME, "namespace": "s", "labels": labels},
        "type": type_,
        "data": {"current": base64.b64encode(bytes(range(32))).decode()},
    }
    kube.put(planted)
    with pytest.raises(Refused, match="is not the operator's: it has type") as refused:
        await load_signer(kube, "s")
    assert "Secret s/mooring-sync-key" in str(refused.value)
    assert "then delete it" in str(refused.value)
