"""What is wrong with a composite, by name."""

from enum import StrEnum
from pathlib import Path

from mooring_model.errors import PackageRefused, RefusalReason


class GraphFault(StrEnum):
    """Why a graph of nodes cannot be executed; the first word of the message."""

    CYCLE = "Cycle"
    """Nodes wait for one another."""
    UNKNOWN_NODE = "UnknownNode"
    """A node is named that there is not, or a directory belongs to none."""
    DUPLICATE_NODE = "DuplicateNode"
    """Two nodes have one name."""
    UNKNOWN_INPUT = "UnknownInput"
    """An edge feeds an input that the node has not."""
    MISSING_INPUT = "MissingInput"
    """Nothing feeds an input of a node."""
    UNKNOWN_SOURCE = "UnknownSource"
    """An edge starts at what is neither a feature nor an output."""
    TYPE_MISMATCH = "TypeMismatch"
    """An edge joins two types."""
    CONDITION_INVALID = "ConditionInvalid"
    """A node's condition is no boolean expression over what there is."""
    TASK_MISMATCH = "TaskMismatch"
    """The nodes that answer predict different things."""
    UNDECIDED_ROWS = "UndecidedRows"
    """There can be rows that no node answers."""
    UNUSED_NODE = "UnusedNode"
    """Nothing reads a node."""
    TOO_DEEP = "TooDeep"
    """The longest way through the graph is too long."""
    NESTED = "Nested"
    """A node is a composite itself."""
    CODE_NODE = "CodeNode"
    """A node is a package of code."""
    OUTPUT_INVALID = "OutputInvalid"
    """An extra output cannot be given for every row, or is not what schema.json says."""
    UNUSED_FEATURE = "UnusedFeature"
    """No node reads a feature of schema.json."""


class GraphInvalid(ValueError):
    """A graph that cannot be executed."""

    def __init__(self, fault: GraphFault, what: str) -> None:
        super().__init__(f"{fault}: {what}")
        self.fault = fault


def refuse_graph(path: Path, error: GraphInvalid) -> PackageRefused:
    """The refusal of a composite."""
    return PackageRefused(
        RefusalReason.GRAPH_INVALID,
        f"{path.parent}: {path.name}: {error}",
        "correct the composite and package it again with `mooring package --composite`",
    )
