"""Receipts: what is written is read back, what was changed is refused."""

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring_serving.arms import Arm
from mooring_serving.receipts import Receipt, ReceiptInvalid, ReceiptWriter, parse_receipt

KEY = b"a key of sixteen bytes or more"
RECEIPT = Receipt(
    id="0123456789abcdef",
    model="flights",
    version="v3",
    revision="9c1e40aa12bd",
    event_time="2026-03-01T00:00:00Z",
    rows=2,
    predicted=[0.25, 0.5],
    phase="9c1e40aa12bd/1",
    arm=Arm.CANDIDATE,
)


def write(receipt: Receipt, key: bytes | None) -> str:
    writer = ReceiptWriter(receipt.model, receipt.version, receipt.revision, key=key)
    return writer.write(
        receipt.id,
        event_time=receipt.event_time,
        rows=receipt.rows,
        predicted=receipt.predicted,
        side=(receipt.arm, receipt.phase),
        segments=receipt.segments,
    )


@pytest.mark.parametrize("key", [None, KEY], ids=["unauthenticated", "authenticated"])
@pytest.mark.parametrize(
    "receipt",
    [
        RECEIPT,
        replace(RECEIPT, predicted=None, phase=None),
        replace(RECEIPT, predicted=[[1, 0]] * 2),
        replace(RECEIPT, segments=[5, 0]),
    ],
    ids=["binary", "large", "multiclass", "segments"],
)
def test_receipt_is_read_back_as_it_was_written(receipt: Receipt, key: bytes | None) -> None:
    assert parse_receipt(write(receipt, key), key) == receipt


@pytest.mark.parametrize("segments", [[], [5, 0]])
def test_receipt_is_canonical_json(segments: list[int]) -> None:
    receipt = replace(RECEIPT, segments=segments)
    text = base64.urlsafe_b64decode(write(receipt, None).rpartition(".")[0]).decode()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_receipt_of_before_segments_is_read() -> None:
    old = (
        b'{"a":"candidate","i":"0123456789abcdef","m":"flights","n":2,"p":[0.25,0.5],'
        b'"ph":"9c1e40aa12bd/1","r":"9c1e40aa12bd","t":"2026-03-01T00:00:00Z","v":"v3"}'
    )
    assert parse_receipt(base64.urlsafe_b64encode(old).decode() + ".-", None) == RECEIPT


@pytest.mark.parametrize("segments", [[1], [1, 1, 1], [1 << 20, 0], [-1, 0], [True, 0], "11", None])
def test_receipt_is_refused_when_its_segments_are_no_segments(segments: object) -> None:
    encoded = write(RECEIPT, None).rpartition(".")[0]
    document = json.loads(base64.urlsafe_b64decode(encoded)) | {"s": segments}
    forged = base64.urlsafe_b64encode(json.dumps(document).encode()).decode()
    with pytest.raises(ReceiptInvalid):
        parse_receipt(f"{forged}.-", None)


def test_receipt_ids_are_hex_digits_and_all_different() -> None:
    writer = ReceiptWriter("m", "v", "r", key=None)
    ids = [writer.next_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(bytes.fromhex(name)) == 8 for name in ids)


def test_unauthenticated_receipt_ends_with_a_dash() -> None:
    assert write(RECEIPT, None).endswith(".-")


def test_receipt_is_refused_when_its_content_was_changed() -> None:
    text = write(RECEIPT, KEY)
    forged = write(replace(RECEIPT, predicted=[1.0, 1.0]), None).rpartition(".")[0]
    with pytest.raises(ReceiptInvalid, match="not authentic"):
        parse_receipt(f"{forged}.{text.rpartition('.')[2]}", KEY)


def test_unauthenticated_receipt_is_refused_where_a_key_is_set() -> None:
    with pytest.raises(ReceiptInvalid, match="not authentic"):
        parse_receipt(write(RECEIPT, None), KEY)


@given(st.text(max_size=300))
def test_any_text_is_a_receipt_or_refused(text: str) -> None:
    with pytest.raises(ReceiptInvalid):
        parse_receipt(text, None)


@given(st.dictionaries(st.sampled_from("aimnprtv"), st.integers() | st.text() | st.none()))
def test_any_document_is_a_receipt_or_refused(document: dict[str, object]) -> None:
    encoded = base64.urlsafe_b64encode(json.dumps(document).encode()).decode()
    with pytest.raises(ReceiptInvalid):
        parse_receipt(f"{encoded}.-", None)
