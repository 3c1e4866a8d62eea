"""Rules and composites on real data, packaged once a session."""

import atexit
import functools
import importlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mooring_model.build import package
from tests.serving.served_packages import cancer_package, cancer_table

_tree: Any = importlib.import_module("sklearn.tree")


@functools.cache
def folder() -> Path:
    """Where this session's packages are."""
    root = Path(tempfile.mkdtemp(prefix="mooring-kinds-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@functools.cache
def cancer_tree() -> Any:
    """A tree of at most 8 leaves: where sensible thresholds for a decision table come from."""
    table = cancer_table()
    tree = _tree.DecisionTreeClassifier(max_leaf_nodes=8, min_samples_leaf=10, random_state=0)
    return tree.fit(table.drop(columns="benign"), table["benign"])


@functools.cache
def cancer_rules_file() -> Path:
    """One rule a leaf: its way from the root as intervals, its share of benign rows as answer."""
    tree = cancer_tree().tree_
    names = list(cancer_tree().feature_names_in_)
    rules: list[dict[str, Any]] = []

    def walk(node: int, when: dict[str, dict[str, float]]) -> None:
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left == right:
            share = float(tree.value[node][0][1])
            rules.append(
                {"id": f"leaf-{node}", "when": when, "then": {"probability": round(share, 6)}}
            )
            return
        name, threshold = names[tree.feature[node]], float(tree.threshold[node])
        low, high = dict(when.get(name, {})), dict(when.get(name, {}))
        walk(left, when | {name: low | {"le": threshold}})
        walk(right, when | {name: high | {"gt": threshold}})

    walk(0, {})
    path = folder() / "cancer.rules.json"
    document = {"rules": rules, "default": {"probability": 0.5}, "checks": {"gaps": "refuse"}}
    path.write_text(json.dumps(document))
    return path


@functools.cache
def cancer_gate_package() -> Path:
    """Rules that answer the clear cases and leave the others to the default."""
    document = json.loads(cancer_rules_file().read_text())
    clear = [rule for rule in document["rules"] if abs(rule["then"]["probability"] - 0.5) > 0.49]
    path = folder() / "cancer-gate.rules.yaml"
    path.write_text(json.dumps({"rules": clear, "default": {"probability": 0.5}}))
    out = folder() / "cancer-gate"
    package(path, cancer_table(), target="benign", out=out, name="gate")
    return out


@functools.cache
def cancer_composite_file() -> Path:
    """Rules answer the clear cases, a linear model the rest, a forest where that is unsure."""
    document = {
        "nodes": [
            {"name": "gate", "package": str(cancer_gate_package())},
            {
                "name": "linear",
                "package": str(cancer_package()),
                "if": "gate.rule == 'default'",
            },
            {
                "name": "forest",
                "package": str(cancer_package("forest")),
                "if": "abs(linear.probability - 0.5) < 0.45",
            },
        ],
        "answer": {"take": "last", "of": ["gate", "linear", "forest"]},
        "outputs": {"rule": "gate.rule"},
    }
    path = folder() / "cancer.composite.json"
    path.write_text(json.dumps(document))
    return path


@functools.cache
def cancer_composite_package() -> Path:
    """The cascade on the breast cancer set."""
    out = folder() / "cancer-composite"
    package(cancer_composite_file(), cancer_table(), target="benign", out=out, name="cancer")
    return out


@functools.cache
def cancer_rules_package() -> Path:
    """Binary: the decision table of a tree on the breast cancer set."""
    out = folder() / "cancer-rules"
    package(cancer_rules_file(), cancer_table(), target="benign", out=out, name="cancer")
    return out
