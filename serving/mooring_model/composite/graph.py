"""The graph, checked without running it: order, types, and that some node answers every row.

A node runs on the rows where its condition is true, where every node that it reads has run, and
where no value is missing that it does not take. A node is *certain* when that is every row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mooring_model.composite.document import CompositeDocument, NodeSpec
from mooring_model.composite.faults import GraphFault, GraphInvalid, refuse_graph
from mooring_model.rules.errors import RulesInvalid
from mooring_model.rules.nodes import Kind, Node, names_of
from mooring_model.rules.parser import parse
from mooring_model.rules.regions import KINDS
from mooring_model.schema import Datatype, InputSpec, ModelSchema, OutputSpec, Task

MAX_DEPTH = 8
"""Nodes on the longest way through the graph."""
DECIDED = OutputSpec(name="node", datatype=Datatype.BYTES)
"""The extra output of every composite: which node answered; of a mean, all of them joined by +."""
_OUTPUT_KINDS = {
    Datatype.BYTES: Kind.TEXT,
    Datatype.FP64: Kind.NUMBER,
    Datatype.INT64: Kind.NUMBER,
}


@dataclass(frozen=True, slots=True)
class Source:
    """Something that can be read: a feature, or an output of a node.

    Attributes:
        kind: of its values.
        datatype: of its values.
        node: the node that it is an output of; None for a feature.
        output: the output's name.
        place: of a wide output, which of its numbers.
        optional: whether a feature may be missing.
    """

    kind: Kind
    datatype: Datatype
    node: str | None = None
    output: str = ""
    place: int | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One node, ready to be executed.

    Attributes:
        name: of the node.
        inputs: the node's inputs and where each comes from.
        demands: references whose missing values keep a row from the node.
        condition: of the rows; None for all.
        certain: whether it runs on every row.
    """

    name: str
    inputs: tuple[tuple[str, str], ...]
    demands: tuple[str, ...]
    condition: Node | None
    certain: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """A checked composite.

    Attributes:
        steps: in an order in which each follows what it reads.
        sources: every reference that a step, a condition or an output makes to a node.
        outputs: extra outputs beyond `node`, and the reference that each is.
        extras: the same as schema.json lists them, `node` first.
        task: of the nodes that answer.
        classes: of these, in the first one's order.
        target: of the first one.
        answering: the nodes that answer.
    """

    steps: tuple[Step, ...]
    sources: Mapping[str, Source]
    outputs: Mapping[str, str]
    extras: tuple[OutputSpec, ...]
    task: Task
    classes: tuple[str | int, ...] | None
    target: str
    answering: tuple[str, ...]

    @property
    def read(self) -> dict[str, dict[str, Source]]:
        """For each node the references that are made to its outputs."""
        found: dict[str, dict[str, Source]] = {step.name: {} for step in self.steps}
        for reference, source in self.sources.items():
            if source.node is not None:
                found[source.node][reference] = source
        return found


def features_of(document: CompositeDocument, schemas: Mapping[str, ModelSchema]) -> set[str]:
    """What the graph reads that is no output of a node, by name.

    Args:
        document: the composite.
        schemas: of each node.
    """
    outputs = set(_output_sources(document, schemas))
    wanted: set[str] = set()
    for node in document.nodes:
        for spec in schemas[node.name].inputs:
            wanted.add(node.inputs.get(spec.name, spec.name))
    return wanted - outputs


def check_graph(
    path: Path,
    document: CompositeDocument,
    schemas: Mapping[str, ModelSchema],
    schema: ModelSchema,
) -> Graph:
    """The graph of a package, which must give what the package's schema says.

    Raises:
        PackageRefused: GraphInvalid, with the fault.
    """
    try:
        graph = build_graph(document, schemas, schema.inputs)
        _check_schema(graph, schema)
    except GraphInvalid as error:
        raise refuse_graph(path, error) from error
    return graph


def build_graph(
    document: CompositeDocument, schemas: Mapping[str, ModelSchema], inputs: Sequence[InputSpec]
) -> Graph:
    """Checks a composite and puts its nodes in order.

    Args:
        document: the composite.
        schemas: of each node.
        inputs: the composite's features.

    Raises:
        GraphInvalid: with its fault.
    """
    for name in document.answer.of:
        if name not in schemas:
            raise GraphInvalid(GraphFault.UNKNOWN_NODE, f"answer: there is no node {name}")
    sources = _sources(document, schemas, inputs)
    conditions = {node.name: _condition(node, sources) for node in document.nodes}
    edges = {node.name: dict(_edges(node, schemas[node.name], sources)) for node in document.nodes}
    steps: list[Step] = []
    for node in _ordered(document, sources, edges, conditions):
        certain = {step.name for step in steps if step.certain}
        steps.append(
            _step(
                node, schemas[node.name], sources, edges[node.name], conditions[node.name], certain
            )
        )
    outputs = {name: _extra(name, ref, sources, steps) for name, ref in document.outputs.items()}
    used = {
        reference
        for step in steps
        for reference in [source for _, source in step.inputs]
        + sorted(names_of(step.condition) if step.condition is not None else ())
    } | set(document.outputs.values())
    _check_use(document, sources, used, inputs)
    _check_answer(document, schemas, steps)
    first = schemas[document.answer.of[0]]
    return Graph(
        steps=tuple(steps),
        sources={reference: sources[reference] for reference in sorted(used)},
        outputs=dict(document.outputs),
        extras=(DECIDED, *outputs.values()),
        task=first.task,
        classes=first.classes,
        target=first.target,
        answering=document.answer.of,
    )


def _output_sources(
    document: CompositeDocument, schemas: Mapping[str, ModelSchema]
) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for node in document.nodes:
        schema = schemas[node.name]
        for spec in schema.outputs:
            kind = _OUTPUT_KINDS.get(spec.datatype)
            if kind is None:
                continue
            name = f"{node.name}.{spec.name}"
            if spec.width == 1:
                found[name] = Source(kind, spec.datatype, node.name, spec.name)
            elif spec.name == "probability":
                for place, label in enumerate(schema.classes or ()):
                    found[f"{name}.{label}"] = Source(
                        kind, spec.datatype, node.name, spec.name, place
                    )
    return found


def _sources(
    document: CompositeDocument, schemas: Mapping[str, ModelSchema], inputs: Sequence[InputSpec]
) -> dict[str, Source]:
    sources = {
        spec.name: Source(KINDS[spec.datatype], spec.datatype, optional=spec.nullable)
        for spec in inputs
    }
    outputs = _output_sources(document, schemas)
    both = sorted(sources.keys() & outputs.keys())
    if both:
        raise GraphInvalid(
            GraphFault.UNKNOWN_SOURCE, f"{both[0]} is a feature and an output of a node"
        )
    return sources | outputs


def _condition(node: NodeSpec, sources: Mapping[str, Source]) -> Node | None:
    if node.condition is None:
        return None
    kinds = {name: source.kind for name, source in sources.items()}
    try:
        return parse(node.condition, kinds, Kind.FLAG)
    except RulesInvalid as error:
        raise GraphInvalid(GraphFault.CONDITION_INVALID, f"{node.name}: {error}") from error


def _edges(
    node: NodeSpec, schema: ModelSchema, sources: Mapping[str, Source]
) -> Iterator[tuple[str, str]]:
    """The node's inputs in its order, and what feeds each."""
    inputs = {spec.name: spec for spec in schema.inputs}
    odd = sorted(node.inputs.keys() - inputs.keys())
    if odd:
        raise GraphInvalid(GraphFault.UNKNOWN_INPUT, f"{node.name} has no input {odd[0]}")
    for name, spec in inputs.items():
        reference = node.inputs.get(name, name)
        source = sources.get(reference)
        if source is None:
            fault = GraphFault.UNKNOWN_SOURCE if name in node.inputs else GraphFault.MISSING_INPUT
            raise GraphInvalid(
                fault, f"{node.name}.{name}: there is no feature or output {reference!r}"
            )
        if source.kind is not KINDS[spec.datatype]:
            raise GraphInvalid(
                GraphFault.TYPE_MISMATCH,
                f"{node.name}.{name} takes {spec.datatype}, {reference} is {source.datatype}",
            )
        yield name, reference


def _ordered(
    document: CompositeDocument,
    sources: Mapping[str, Source],
    edges: Mapping[str, Mapping[str, str]],
    conditions: Mapping[str, Node | None],
) -> list[NodeSpec]:
    """Nodes after what they read, else in the document's order."""
    before: dict[str, set[str]] = {}
    for name, inputs in edges.items():
        condition = conditions[name]
        read = [*inputs.values(), *(names_of(condition) if condition is not None else ())]
        before[name] = {node for ref in read if (node := sources[ref].node) is not None}
    depths: dict[str, int] = {}
    ordered: list[NodeSpec] = []
    waiting = list(document.nodes)
    while waiting:
        ready = next((node for node in waiting if before[node.name] <= depths.keys()), None)
        if ready is None:
            names = ", ".join(node.name for node in waiting)
            raise GraphInvalid(GraphFault.CYCLE, f"{names} wait for one another")
        waiting.remove(ready)
        ordered.append(ready)
        depth = 1 + max((depths[name] for name in before[ready.name]), default=0)
        if depth > MAX_DEPTH:
            raise GraphInvalid(
                GraphFault.TOO_DEEP, f"{ready.name} is node {depth} of its way, at most {MAX_DEPTH}"
            )
        depths[ready.name] = depth
    return ordered


def _step(
    node: NodeSpec,
    schema: ModelSchema,
    sources: Mapping[str, Source],
    edges: Mapping[str, str],
    condition: Node | None,
    certain: set[str],
) -> Step:
    takes_missing = {spec.name for spec in schema.inputs if spec.nullable}
    demands: list[str] = []
    always = condition is None
    for name, reference in edges.items():
        source = sources[reference]
        if source.node is not None:
            always &= source.node in certain
            if source.node not in certain:
                demands.append(reference)
        elif source.optional and name not in takes_missing:
            demands.append(reference)
            always = False
    return Step(node.name, tuple(edges.items()), tuple(dict.fromkeys(demands)), condition, always)


def _extra(
    name: str, reference: str, sources: Mapping[str, Source], steps: Sequence[Step]
) -> OutputSpec:
    source = sources.get(reference)
    if source is None or source.node is None:
        raise GraphInvalid(GraphFault.OUTPUT_INVALID, f"{name}: no node has an output {reference}")
    certain = {step.name for step in steps if step.certain}
    if source.kind is Kind.NUMBER and source.node not in certain:
        raise GraphInvalid(
            GraphFault.OUTPUT_INVALID, f"{name}: {source.node} does not run on every row"
        )
    return OutputSpec(name=name, datatype=source.datatype)


def _check_use(
    document: CompositeDocument,
    sources: Mapping[str, Source],
    used: set[str],
    inputs: Sequence[InputSpec],
) -> None:
    read = {sources[reference].node for reference in used} | set(document.answer.of)
    for node in document.nodes:
        if node.name not in read:
            raise GraphInvalid(GraphFault.UNUSED_NODE, f"nothing reads {node.name}")
    for spec in inputs:
        if spec.name not in used:
            raise GraphInvalid(GraphFault.UNUSED_FEATURE, f"no node reads {spec.name}")


def _check_answer(
    document: CompositeDocument, schemas: Mapping[str, ModelSchema], steps: Sequence[Step]
) -> None:
    names = document.answer.of
    first = schemas[names[0]]
    for name in names[1:]:
        schema = schemas[name]
        if schema.task is not first.task or set(schema.classes or ()) != set(first.classes or ()):
            raise GraphInvalid(
                GraphFault.TASK_MISMATCH,
                f"answer: {names[0]} predicts {_predicts(first)}, {name} {_predicts(schema)}",
            )
    if not any(step.certain for step in steps if step.name in names):
        raise GraphInvalid(
            GraphFault.UNDECIDED_ROWS,
            f"answer: each of {', '.join(names)} can leave out rows; let one run on all of them",
        )


def _predicts(schema: ModelSchema) -> str:
    classes = ", ".join(str(name) for name in (schema.classes or ())[:8])
    return f"{schema.task} of {classes}" if classes else str(schema.task)


def _check_schema(graph: Graph, schema: ModelSchema) -> None:
    """Raises GraphInvalid where schema.json is not what the graph gives."""
    if graph.task is not schema.task or graph.classes != schema.classes:
        raise GraphInvalid(
            GraphFault.TASK_MISMATCH, "schema.json predicts something else than the nodes do"
        )
    if schema.extras != graph.extras:
        names = [spec.name for spec in graph.extras]
        raise GraphInvalid(
            GraphFault.OUTPUT_INVALID, f"schema.json must list the extra outputs {names}"
        )
