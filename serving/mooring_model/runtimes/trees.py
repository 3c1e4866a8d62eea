"""Decision trees from a file: every index must stay inside its tree.

scikit-learn follows the child and feature indices of a loaded tree without checks, so a crafted
file could read foreign memory or never end (scikit-learn #34558). One walk over the estimator after
loading makes sure that children come after their parent and features exist.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mooring_model.prediction import Array

_tree: Any = importlib.import_module("sklearn.tree._tree")
_boosting: Any = importlib.import_module("sklearn.ensemble._hist_gradient_boosting.predictor")
MAX_OBJECTS = 2_000_000
_HOLDERS = ("sklearn", "quantile_forest")
"""Packages whose objects may hold trees."""


class TreeInvalid(Exception):
    """A tree of the model points outside itself."""


def check_trees(model: object) -> None:
    """Checks every tree that can be reached from an estimator.

    Raises:
        TreeInvalid: an index leads outside its tree or back, or the model never ends.
    """
    for tree, features in _trees(model):
        if isinstance(tree, _tree.Tree):
            _check_tree(tree)
        else:
            _check_predictor(tree.nodes, tree.raw_left_cat_bitsets, features)


def _trees(model: object) -> Iterator[tuple[Any, int | None]]:
    """The trees inside, each with the number of features of the estimator that holds it."""
    waiting: list[tuple[Any, int | None]] = [(model, None)]
    seen: set[int] = set()
    while waiting:
        item, features = waiting.pop()
        if id(item) in seen or isinstance(item, (str, bytes, int, float, type(None))):
            continue
        seen.add(id(item))
        if len(seen) > MAX_OBJECTS:
            raise TreeInvalid(f"the model holds more than {MAX_OBJECTS} objects")
        if isinstance(item, (_tree.Tree, _boosting.TreePredictor)):
            yield item, features
            continue
        known = getattr(item, "n_features_in_", None)
        inner = known if isinstance(known, int) else features
        waiting.extend((child, inner) for child in _children(item))


def _children(item: Any) -> list[Any]:
    kind: type[Any] = item.__class__
    if issubclass(kind, dict):
        return _values(item)
    if issubclass(kind, (list, tuple, set, frozenset)):
        return [*item]
    if issubclass(kind, np.ndarray):
        return item.reshape(-1).tolist() if item.dtype == object else []
    attributes: Any = getattr(item, "__dict__", None)
    if kind.__module__.partition(".")[0] in _HOLDERS and attributes is not None:
        return _values(attributes)
    return []


def _values(mapping: Mapping[object, Any]) -> list[Any]:
    return list(mapping.values())


def _check_tree(tree: Any) -> None:
    count = int(tree.node_count)
    left, right = np.asarray(tree.children_left), np.asarray(tree.children_right)
    leaf = left == -1
    _require(bool(np.array_equal(leaf, right == -1)), "a node has one child")
    _check_children(left[~leaf], right[~leaf], np.flatnonzero(~leaf), count)
    features = np.asarray(tree.feature)[~leaf]
    _require(bool(np.all((features >= 0) & (features < tree.n_features))), "a feature is unknown")
    _require(len(tree.value) == count, "a node has no value")


def _check_predictor(nodes: Array, categories: Array, features: int | None) -> None:
    inner = nodes["is_leaf"] == 0
    chosen = nodes[inner]
    left, right = chosen["left"].astype(np.int64), chosen["right"].astype(np.int64)
    _check_children(left, right, np.flatnonzero(inner), len(nodes))
    limit = 1 << 20 if features is None else features
    index = chosen["feature_idx"].astype(np.int64)
    _require(bool(np.all((index >= 0) & (index < limit))), "a feature is unknown")
    bitsets = chosen["bitset_idx"][chosen["is_categorical"] != 0].astype(np.int64)
    _require(bool(np.all(bitsets < len(categories))), "a set of categories is unknown")


def _check_children(left: Array, right: Array, parent: Array, count: int) -> None:
    for children in (left, right):
        inside = (children > parent) & (children < count)
        _require(bool(np.all(inside)), "a child is outside the tree or before its parent")


def _require(fine: bool, what: str) -> None:  # noqa: FBT001 - an assertion with a sentence
    if not fine:
        raise TreeInvalid(f"a decision tree is broken: {what}")
