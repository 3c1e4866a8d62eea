"""The composite runtime: its nodes in order, each on the rows that are its own, in one request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mooring_model.composite.check import node_directory
from mooring_model.composite.document import Combination, CompositeDocument, read_composite
from mooring_model.composite.graph import DECIDED, Graph, Source, Step, check_graph
from mooring_model.prediction import (
    Answerer,
    Array,
    Columns,
    Explained,
    FloatArray,
    Prediction,
    PredictionFailed,
    Runtime,
)
from mooring_model.rules.compute import compile_flag
from mooring_model.rules.nodes import Kind
from mooring_model.rules.outcomes import pair
from mooring_model.schema import ModelSchema, OutputSpec, Task, read_inference, read_schema

Rows = npt.NDArray[np.intp]
"""Places of rows, rising."""
OpenNode = Callable[[Path, ModelSchema], Runtime]
"""Loads the model of a node's package."""


@dataclass(frozen=True, slots=True)
class LoadedNode:
    """A node in memory.

    Attributes:
        step: what it reads, and when it runs.
        condition: the rows on which it runs; None for all.
        answerer: its model.
        read: the references that are made to its outputs.
        answers: from its prediction to [n, width], in the composite's order of classes; None for a
            node that does not answer.
    """

    step: Step
    condition: Callable[[Columns, int], Array] | None
    answerer: Answerer
    read: Mapping[str, Source]
    answers: Callable[[Prediction], FloatArray] | None


class CompositeRuntime:
    """Nodes executed one after the other."""

    def __init__(
        self, graph: Graph, document: CompositeDocument, nodes: Mapping[str, LoadedNode]
    ) -> None:
        self._graph = graph
        self._nodes = [nodes[step.name] for step in graph.steps]
        weights = document.answer.weights or (1.0,) * len(document.answer.of)
        self._weights = dict(zip(document.answer.of, weights, strict=True))
        self._mean = document.answer.take is Combination.MEAN
        self._of = document.answer.of
        self._width = max(1, len(graph.classes or ()))
        self._first = next(name for name, source in graph.sources.items() if source.node is None)

    @classmethod
    def open(cls, path: Path, schema: ModelSchema, open_node: OpenNode) -> "CompositeRuntime":
        """The composite in a package whose files are checked.

        Raises:
            PackageRefused: GraphInvalid with its fault, or what a node's package is refused for.
        """
        document = read_composite(path)
        places = {node.name: node_directory(path.parent, node.name) for node in document.nodes}
        schemas = {name: read_schema(place) for name, place in places.items()}
        graph = check_graph(path, document, schemas, schema)
        nodes: dict[str, LoadedNode] = {}
        for step in graph.steps:
            place, node = places[step.name], schemas[step.name]
            answerer = Answerer.of(open_node(place, node), node, read_inference(place))
            nodes[step.name] = load_node(step, graph, node, answerer)
        return cls(graph, document, nodes)

    @property
    def extras(self) -> tuple[OutputSpec, ...]:
        """`node`, and what the document maps."""
        return self._graph.extras

    def probabilities(self, columns: Columns) -> FloatArray:
        """Probabilities [n, classes]; see `Runtime`."""
        return self.explain(columns).values

    def values(self, columns: Columns) -> FloatArray:
        """Values [n]; see `Runtime`."""
        return self.explain(columns).values

    def explain(self, columns: Columns) -> Explained:
        """Answers, and for each row the node that decided."""
        count = len(columns[self._first])
        known: dict[str, Array] = dict(columns)
        answered: dict[str, tuple[Rows | None, FloatArray]] = {}
        for node in self._nodes:
            rows = _rows_of(node, known, count)
            prediction = _run(node, known, rows)
            _spread(node, prediction, rows, count, known)
            if node.answers is not None and prediction is not None:
                answered[node.step.name] = (rows, node.answers(prediction))
        values, decided = (
            self._mixed(answered, count) if self._mean else self._last(answered, count)
        )
        extras: dict[str, Array] = {DECIDED.name: decided}
        for name, reference in self._graph.outputs.items():
            given = known[reference]
            is_text = self._graph.sources[reference].kind is Kind.TEXT
            extras[name] = _without_none(given) if is_text else given
        if self._graph.task is Task.REGRESSION:
            values = values[:, 0]
        return Explained(values, extras)

    def _last(
        self, answered: Mapping[str, tuple[Rows | None, FloatArray]], count: int
    ) -> tuple[FloatArray, Array]:
        values, decided, ours = np.empty((count, self._width)), np.full(count, "", object), True
        for name in self._of:
            if name not in answered:
                continue
            rows, answers = answered[name]
            if rows is None:  # what follows may not write into what a node gave
                values, decided, ours = answers, np.full(count, name, object), False
                continue
            if not ours:
                values, ours = values.copy(), True
            values[rows], decided[rows] = answers, name
        return values, decided

    def _mixed(
        self, answered: Mapping[str, tuple[Rows | None, FloatArray]], count: int
    ) -> tuple[FloatArray, Array]:
        totals, weights = np.zeros((count, self._width)), np.zeros(count)
        decided = np.full(count, "", object)
        for name in self._of:
            if name in answered:
                rows, answers = answered[name]
                where = slice(None) if rows is None else rows
                totals[where] += self._weights[name] * answers
                weights[where] += self._weights[name]
                decided[where] = [f"{said}+{name}" if said else name for said in decided[where]]
        return totals / weights[:, None], decided


def load_node(step: Step, graph: Graph, schema: ModelSchema, answerer: Answerer) -> LoadedNode:
    """A node with its model.

    Args:
        step: of the graph.
        graph: the whole.
        schema: of the node.
        answerer: its model.
    """
    return LoadedNode(
        step=step,
        condition=None if step.condition is None else compile_flag(step.condition),
        answerer=answerer,
        read=graph.read[step.name],
        answers=_answers(schema, graph) if step.name in graph.answering else None,
    )


def _answers(schema: ModelSchema, graph: Graph) -> Callable[[Prediction], FloatArray]:
    """Takes a node's answer into the composite's order of classes."""
    if schema.task is Task.REGRESSION:
        return lambda prediction: prediction.score.reshape(-1, 1)
    names = schema.classes or ()
    order = [names.index(name) for name in graph.classes or ()]
    if schema.task is Task.BINARY:
        positive = names.index(schema.positive_class or "")
        place = order.index(positive)
        return lambda prediction: pair(prediction.score, place)
    return lambda prediction: prediction.outputs["probability"][:, order]


def _rows_of(node: LoadedNode, known: Columns, count: int) -> Rows | None:
    """The rows on which a node runs; None for all."""
    if node.step.certain:
        return None
    wanted = np.ones(count, np.bool_)
    if node.condition is not None:
        wanted &= node.condition(known, count)
    for reference in node.step.demands:
        wanted &= ~_missing(known[reference])
    return None if wanted.all() else np.flatnonzero(wanted)


def _run(node: LoadedNode, known: Columns, rows: Rows | None) -> Prediction | None:
    """The node's prediction for its rows; None when it has none.

    Raises:
        PredictionFailed: naming the node.
    """
    if rows is not None and not rows.size:
        return None
    inputs = {
        name: known[reference] if rows is None else known[reference][rows]
        for name, reference in node.step.inputs
    }
    try:
        prediction = node.answerer.predict(inputs)
    except PredictionFailed as error:
        raise PredictionFailed(f"node {node.step.name}: {error}") from error
    for name, values in prediction.outputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise PredictionFailed(f"node {node.step.name}: {name} is not finite")
    return prediction


def _spread(
    node: LoadedNode,
    prediction: Prediction | None,
    rows: Rows | None,
    count: int,
    known: dict[str, Array],
) -> None:
    """Puts what others read of a node where they find it; rows without an answer are missing."""
    for reference, source in node.read.items():
        is_text = source.kind is Kind.TEXT
        given = None if prediction is None else _column(prediction, source)
        if rows is None and given is not None:
            known[reference] = given
            continue
        column: Array = np.full(count, None, object) if is_text else np.full(count, np.nan)
        if given is not None:
            column[rows] = given
        known[reference] = column


def _column(prediction: Prediction, source: Source) -> Array:
    values = prediction.outputs[source.output]
    if source.place is not None:
        return values[:, source.place]
    return values if source.kind is Kind.TEXT else values.astype(np.float64)


def _missing(values: Array) -> Array:
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.array([value is None for value in values.tolist()], np.bool_)


def _without_none(values: Array) -> Array:
    return np.array(["" if value is None else value for value in values.tolist()], object)
