"""Canonical .skops files, and the check of the trees in them."""

import importlib
from typing import Any

import numpy as np
import pytest

from mooring_model.runtimes.trees import TreeInvalid, check_trees
from mooring_model.skops_file import canonical_skops

_skops: Any = importlib.import_module("skops.io")
_ensemble: Any = importlib.import_module("sklearn.ensemble")
_linear: Any = importlib.import_module("sklearn.linear_model")
_pipeline: Any = importlib.import_module("sklearn.pipeline")
_preprocessing: Any = importlib.import_module("sklearn.preprocessing")
_tree: Any = importlib.import_module("sklearn.tree")

GENERATOR = np.random.default_rng(5)
X = GENERATOR.normal(size=(120, 3))
Y = (X[:, 0] + GENERATOR.normal(size=120) > 0).astype(int)


def models() -> dict[str, Any]:
    boosting = _ensemble.HistGradientBoostingClassifier(max_iter=3, random_state=0)
    return {
        "pipeline": _pipeline.make_pipeline(
            _preprocessing.StandardScaler(), _linear.LogisticRegression()
        ),
        "forest": _ensemble.RandomForestClassifier(3, random_state=0),
        "boosting": boosting,
        "gradient": _ensemble.GradientBoostingClassifier(n_estimators=3, random_state=0),
        "voting": _ensemble.VotingClassifier([("b", boosting)], voting="soft"),
    }


@pytest.mark.parametrize("name", list(models()))
def test_two_dumps_of_a_model_are_the_same_bytes_and_answer_alike(name: str) -> None:
    model = models()[name].fit(X, Y)
    first, second = (canonical_skops(_skops.dumps(model)) for _ in range(2))
    assert first == second
    assert canonical_skops(first) == first
    trusted = _skops.get_untrusted_types(data=first)
    loaded = _skops.loads(first, trusted=trusted)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("name", list(models()))
def test_trees_of_an_honest_model_pass(name: str) -> None:
    check_trees(models()[name].fit(X, Y))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("left_child", 10**6),
        ("left_child", 0),
        ("right_child", -7),
        ("right_child", -1),
        ("feature", 3),
        ("feature", -3),
    ],
)
def test_tree_with_a_bad_index_is_found_wherever_it_hides(field: str, value: int) -> None:
    forest = models()["forest"].fit(X, Y)
    tree = forest.estimators_[1].tree_
    state = tree.__getstate__()
    state["nodes"][field][0] = value
    tree.__setstate__(state)
    with pytest.raises(TreeInvalid):
        check_trees(_pipeline.make_pipeline(_preprocessing.StandardScaler(), forest))


@pytest.mark.parametrize(
    ("field", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 3), ("feature_idx", -1)]
)
def test_boosted_tree_with_a_bad_index_is_found(field: str, value: int) -> None:
    boosting = models()["boosting"].fit(X, Y)
    boosting._predictors[2][0].nodes[field][0] = value
    with pytest.raises(TreeInvalid):
        check_trees(boosting)


def test_model_that_holds_itself_is_walked_once() -> None:
    model = _linear.LogisticRegression().fit(X, Y)
    model.itself = [model, {"again": model}]
    check_trees(model)
