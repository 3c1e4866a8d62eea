import pytest

from mooring_operator.io.fields import Json, mapping_at
from mooring_operator.reconcile.report import merge_patch


def _patched(target: Json, patch: Json) -> Json:
    """RFC 7386, as an oracle."""
    after = dict(target)
    for key, value in patch.items():
        if value is None:
            after.pop(key, None)
        elif isinstance(value, dict):
            after[key] = _patched(mapping_at(after, key), mapping_at(patch, key))
        else:
            after[key] = value
    return after


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param({}, {"a": 1}, id="added"),
        pytest.param({"a": 1}, {}, id="removed"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, id="removed inside"),
        pytest.param({"a": [1, 2]}, {"a": [2]}, id="list replaced"),
        pytest.param({"a": {"b": 1}}, {"a": "text"}, id="object replaced by text"),
        pytest.param({"a": "text"}, {"a": {"b": {"c": 1}}}, id="text replaced by object"),
        pytest.param({"a": {"b": {"c": 1}}, "d": 0}, {"a": {"b": {"c": 2}}, "d": 0}, id="deep"),
    ],
)
def test_merge_patch_makes_the_new_of_the_old(old: Json, new: Json) -> None:
    patch = merge_patch(old, new)
    assert patch
    assert _patched(old, patch) == new


def test_merge_patch_is_empty_when_nothing_differs() -> None:
    document = {"a": {"b": [1, {"c": None}]}, "d": ""}
    assert merge_patch(document, dict(document)) == {}
