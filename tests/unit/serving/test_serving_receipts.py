"""Receipts: what is written is read back, what was changed is refused."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring_serving.arms import Arm
from mooring_serving.receipts import Receipt, ReceiptInvalid, build_receipt, parse_receipt

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


@pytest.mark.parametrize("key", [None, KEY], ids=["unauthenticated", "authenticated"])
@pytest.mark.parametrize(
    "receipt",
    [
        RECEIPT,
        replace(RECEIPT, predicted=None, phase=None),
        replace(RECEIPT, predicted=[[1, 0]] * 2),
    ],
    ids=["binary", "large", "multiclass"],
)
def test_receipt_is_read_back_as_it_was_written(receipt: Receipt, key: bytes | None) -> None:
    assert parse_receipt(build_receipt(receipt, key), key) == receipt


def test_unauthenticated_receipt_ends_with_a_dash() -> None:
    assert build_receipt(RECEIPT, None).endswith(".-")


def test_receipt_is_refused_when_its_content_was_changed() -> None:
    text = build_receipt(RECEIPT, KEY)
    forged = build_receipt(replace(RECEIPT, predicted=[1.0, 1.0]), None).rpartition(".")[0]
    with pytest.raises(ReceiptInvalid, match="not authentic"):
        parse_receipt(f"{forged}.{text.rpartition('.')[2]}", KEY)


def test_unauthenticated_receipt_is_refused_where_a_key_is_set() -> None:
    with pytest.raises(ReceiptInvalid, match="not authentic"):
        parse_receipt(build_receipt(RECEIPT, None), KEY)


@given(st.text(max_size=300))
def test_any_text_is_a_receipt_or_refused(text: str) -> None:
    with pytest.raises(ReceiptInvalid):
        parse_receipt(text, None)


@given(st.dictionaries(st.sampled_from("aimnprtv"), st.integers() | st.text() | st.none()))
def test_any_document_is_a_receipt_or_refused(document: dict[str, object]) -> None:
    import json

    encoded = base64.urlsafe_b64encode(json.dumps(document).encode()).decode()
    with pytest.raises(ReceiptInvalid):
        parse_receipt(f"{encoded}.-", None)
