"""Termination messages fit, whatever a package puts into them."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_model.termination import MESSAGE_BYTES, message_of, write_termination

DIGEST = "sha256:" + "0" * 64
TEXTS = st.text(max_size=30) | st.builds(str.__mul__, st.text(min_size=1, max_size=20), st.just(99))


@settings(max_examples=40)
@given(
    st.fixed_dictionaries({"message": TEXTS, "remedy": TEXTS}),
    st.lists(
        st.fixed_dictionaries({"name": TEXTS, "value": st.floats(allow_nan=False)}), max_size=12
    ),
)
def test_message_fits_and_keeps_verdict_and_digest(
    texts: dict[str, str], metrics: list[dict[str, object]]
) -> None:
    finite = [m for m in metrics if abs(float(str(m["value"]))) < float("inf")]
    data = message_of({"verdict": "Verified", "digest": DIGEST, **texts, "metrics": finite})
    assert len(data) <= MESSAGE_BYTES
    said = json.loads(data)
    assert (said["verdict"], said["digest"]) == ("Verified", DIGEST)


def test_message_is_untouched_when_it_fits() -> None:
    document = {"verdict": "Refused", "message": "é" * 600, "list": list(range(100))}
    assert json.loads(message_of(document)) == document


@pytest.mark.parametrize("character", ["x", "é", "\U0001f600", '"', "\x00", "\udc80"])
def test_longest_texts_are_cut_to_fit_whatever_their_escapes(character: str) -> None:
    data = message_of({"digest": DIGEST, "message": character * 9000, "remedy": character * 9000})
    assert MESSAGE_BYTES / 4 < len(data) <= MESSAGE_BYTES
    assert json.loads(data)["digest"] == DIGEST


def test_message_that_cannot_be_cut_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(ValueError, match="cannot be shortened"):
        message_of({f"key{number}": number for number in range(1000)})


def test_number_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        message_of({"value": float("nan")})


def test_message_goes_to_the_file(tmp_path: Path) -> None:
    write_termination({"verdict": "Fetched"}, tmp_path / "log")
    assert (tmp_path / "log").read_text() == '{"verdict":"Fetched"}'
