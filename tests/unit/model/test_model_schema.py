"""The schema's own consistency, and what is read off a table."""

import importlib
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mooring_model.errors import PackageRefused
from mooring_model.infer_schema import Classes, feature_names, infer_schema, to_columns
from mooring_model.prediction import Answerer
from mooring_model.schema import (
    Datatype,
    Inference,
    InputKind,
    InputSpec,
    ModelSchema,
    Task,
    schema_of,
)

_pandas: Any = importlib.import_module("pandas")
NUMBER = InputSpec(name="x", datatype=Datatype.FP64, kind=InputKind.NUMERIC)


@pytest.mark.parametrize(
    ("classes", "task", "outputs"),
    [
        (None, Task.REGRESSION, [("prediction", Datatype.FP64, 1)]),
        ([0, 1], Task.BINARY, [("label", Datatype.INT64, 1), ("probability", Datatype.FP64, 1)]),
        (
            ["a", "b"],
            Task.BINARY,
            [("label", Datatype.BYTES, 1), ("probability", Datatype.FP64, 1)],
        ),
        (
            [3, 4, 9],
            Task.MULTICLASS,
            [("label", Datatype.INT64, 1), ("probability", Datatype.FP64, 3)],
        ),
    ],
)
def test_outputs_follow_the_contract(
    classes: list[str | int] | None, task: Task, outputs: list[tuple[str, Datatype, int]]
) -> None:
    schema = schema_of([NUMBER], target="y", classes=classes)
    assert schema.task is task
    assert [(spec.name, spec.datatype, spec.width) for spec in schema.outputs] == outputs
    assert schema.positive_class == (classes[1] if classes and len(classes) == 2 else None)
    assert ModelSchema.model_validate_json(schema.model_dump_json(by_alias=True)) == schema


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "regression"},
        {"classes": [0, "1"]},
        {"classes": [1, 1]},
        {"classes": [0, 1, 2]},
        {"positiveClass": None},
        {"positiveClass": "1"},
        {"inputs": [NUMBER.model_dump(), NUMBER.model_dump()]},
        {"outputs": [{"name": "label", "datatype": "BYTES"}]},
    ],
)
def test_inconsistent_schema_is_refused(changes: dict[str, object]) -> None:
    good = schema_of([NUMBER], target="y", classes=[0, 1]).model_dump(mode="json", by_alias=True)
    with pytest.raises(ValidationError):
        ModelSchema.model_validate(good | changes)


@pytest.mark.parametrize(
    "spec",
    [
        {"datatype": "BYTES", "kind": "numeric"},
        {"datatype": "FP64", "kind": "categorical", "categories": ["a"]},
        {"datatype": "FP64", "kind": "numeric", "categories": ["a"]},
        {"datatype": "BYTES", "kind": "categorical"},
        {"datatype": "BOOL", "kind": "categorical", "categories": ["false"], "nullable": True},
        {"datatype": "UINT128", "kind": "numeric"},
    ],
)
def test_inconsistent_input_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InputSpec.model_validate({"name": "x", **spec})


def test_single_class_is_no_classifier() -> None:
    with pytest.raises(ValueError, match="two classes or more"):
        schema_of([NUMBER], target="y", classes=["only"])


def table() -> Any:
    return _pandas.DataFrame(
        {
            "whole": [1, 2, 3],
            "gap": _pandas.array([1, None, 3], dtype="Int64"),
            "float": [0.5, np.nan, 1.5],
            "flag": [True, False, True],
            "text": ["b", None, "a"],
            "kind": _pandas.Categorical(["u", "v", "u"]),
            "y": [0, 1, 0],
        }
    )


def test_columns_become_tensors_by_their_type() -> None:
    frame = table()
    names = feature_names(frame, target="y", time_column=None, features=None)
    schema = infer_schema(frame, target="y", names=names, classes=Classes((0, 1)))
    kinds = {spec.name: (spec.datatype.value, spec.nullable) for spec in schema.inputs}
    assert kinds == {
        "whole": ("FP64", False),
        "gap": ("FP64", True),
        "float": ("FP64", True),
        "flag": ("BOOL", False),
        "text": ("BYTES", True),
        "kind": ("BYTES", False),
    }
    columns = to_columns(schema, frame)
    np.testing.assert_array_equal(columns["gap"], [1.0, np.nan, 3.0])
    assert columns["text"].tolist() == ["b", None, "a"]
    assert columns["flag"].dtype == np.bool_


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (_pandas.to_datetime(["2026-01-01"] * 3), "which no tensor holds"),
        ([{"a": 1}] * 3, "which no tensor holds"),
        ([1j, 2j, 3j], "which no tensor holds"),
        (_pandas.array([True, None, False], dtype="boolean"), "boolean with missing values"),
    ],
    ids=["times", "objects", "complex numbers", "flags with gaps"],
)
def test_column_that_is_no_feature_is_refused_by_its_name(column: Any, message: str) -> None:
    frame = _pandas.DataFrame({"odd": _pandas.Series(column), "y": [0, 1, 0]})
    with pytest.raises(PackageRefused, match=message) as refused:
        infer_schema(frame, target="y", names=["odd"], classes=Classes((0, 1)))
    assert "odd" in refused.value.message


class _Fixed:
    """A model with fixed probabilities."""

    def __init__(self, *rows: list[float]) -> None:
        self._rows = np.array(rows)

    def probabilities(self, columns: Any) -> Any:
        return self._rows

    def values(self, columns: Any) -> Any:
        return self._rows[:, 0]


def test_binary_answer_speaks_of_the_positive_class() -> None:
    schema = schema_of([NUMBER], target="y", classes=["no", "yes"])
    turned = schema.model_copy(update={"positive_class": "no"})
    model = _Fixed([0.3, 0.7], [0.9, 0.1])
    plain = Answerer.of(model, schema, Inference()).predict({})
    other = Answerer.of(model, turned, Inference()).predict({})
    assert plain.outputs["probability"].tolist() == [0.7, 0.1]
    assert other.outputs["probability"].tolist() == [0.3, 0.9]
    assert plain.outputs["label"].tolist() == other.outputs["label"].tolist() == ["yes", "no"]


def test_threshold_decides_the_label() -> None:
    schema = schema_of([NUMBER], target="y", classes=[0, 1])
    answers = Answerer.of(_Fixed([0.3, 0.7]), schema, Inference(threshold=0.71)).predict({})
    assert answers.outputs["label"].tolist() == [0]
    assert answers.outputs["label"].dtype == np.int64


def test_multiclass_score_is_the_largest_probability() -> None:
    schema = schema_of([NUMBER], target="y", classes=["a", "b", "c"])
    answers = Answerer.of(_Fixed([0.2, 0.5, 0.3]), schema, Inference()).predict({})
    assert answers.outputs["label"].tolist() == ["b"]
    assert answers.score.tolist() == [0.5]
