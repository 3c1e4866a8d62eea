"""Revisions are named by what changes predictions, and an upgrade moves none."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring_operator.api.deployment_status import HistoryEntry, Outcome, QuarantineEntry
from mooring_operator.core.revision import (
    HISTORY_LIMIT,
    QUARANTINE_LIMIT,
    next_seq,
    pinned,
    revision_hash,
    with_history,
    with_quarantine,
)
from tests.builders.observed import candidate, ref, stable, status
from tests.builders.resources import EPOCH, digest_of

DIGEST = digest_of("v1")


def quarantined(revision: str, image: str = "old:1", seq: int = 2) -> QuarantineEntry:
    return QuarantineEntry(
        revision=revision,
        version="v2",
        digest=digest_of("v2"),
        image=image,
        reason="ErrorsIncreased",
        evidence="errors",
        at=EPOCH,
        rollback_id=f"r-{seq}",
    )


def test_revision_is_the_documented_hash_when_computed_by_hand() -> None:
    text = f'{{"configuration":{{}},"digest":"{DIGEST}","image":"i:1"}}'
    assert revision_hash(DIGEST, "i:1") == hashlib.sha256(text.encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("digest", "image", "configuration"),
    [(digest_of("v2"), "i:1", None), (DIGEST, "i:2", None), (DIGEST, "i:1", {"threshold": "0.4"})],
    ids=["package", "image", "configuration"],
)
def test_revision_differs_when_what_predicts_differs(
    digest: str, image: str, configuration: dict[str, str] | None
) -> None:
    assert revision_hash(digest, image, configuration) != revision_hash(DIGEST, "i:1")


def test_pinned_image_is_found_when_the_digest_is_known_in_any_role() -> None:
    old = ref("v2", "old:1")
    assert pinned(status(stable=stable("v1")), digest_of("v2")) is None
    for known in (
        status(candidate=candidate("v2", revision=old.revision, image="old:1")),
        status(quarantine=[quarantined(old.revision)]),
        status(desired=old),
    ):
        assert pinned(known, digest_of("v2")) == (old.revision, "old:1")


def test_next_number_is_above_every_known_rollout() -> None:
    assert next_seq(status()) == 1
    assert next_seq(status(stable=stable("v1", seq=4))) == 5
    assert next_seq(status(stable=stable("v1"), quarantine=[quarantined("0" * 12, seq=9)])) == 10


@given(st.integers(1, 30))
def test_history_is_bounded_and_newest_first_when_it_grows(rollouts: int) -> None:
    history: list[HistoryEntry] = []
    for seq in range(1, rollouts + 1):
        known = status(history=history)
        ended = candidate("v2", seq=seq)
        history = with_history(known, ended, Outcome.ROLLED_BACK, "errors", EPOCH)
    assert len(history) == min(rollouts, HISTORY_LIMIT)
    assert [entry.seq for entry in history] == sorted((e.seq for e in history), reverse=True)


def test_quarantine_holds_a_revision_once_and_is_bounded() -> None:
    entries: list[QuarantineEntry] = []
    for number in [*range(25), 24]:
        known = status(quarantine=entries)
        entries = with_quarantine(known, quarantined(f"{number:012x}", seq=number))
    assert len(entries) == QUARANTINE_LIMIT
    assert len({entry.revision for entry in entries}) == QUARANTINE_LIMIT
    assert entries[0].revision == f"{24:012x}"
