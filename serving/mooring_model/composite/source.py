"""A composite that is to be packaged: its nodes' packages copied, its graph checked, loaded."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from mooring_model.author import author_refused, read_author_file
from mooring_model.composite.check import check_composite, node_directory
from mooring_model.composite.document import CompositeDocument
from mooring_model.composite.faults import GraphFault, GraphInvalid
from mooring_model.composite.graph import build_graph, features_of
from mooring_model.documents import is_object
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.infer_schema import Classes, Frame
from mooring_model.load import load_runtime
from mooring_model.manifest import (
    Format,
    check_digest,
    first_fault,
    list_files,
    package_digest,
    verify_files,
)
from mooring_model.prediction import Runtime
from mooring_model.schema import ModelSchema, OutputSpec, read_schema

USED = "package"
"""An author's node says here where its package is, relative to the file."""


@dataclass(frozen=True)
class CompositeSource:
    """What `package` needs of a model, for a composite.

    Attributes:
        path: the author's file.
        document: what is in it, with the digests of the packages that it names.
        packages: of each node.
        schemas: of each node.
    """

    path: Path
    document: CompositeDocument
    packages: Mapping[str, Path]
    schemas: Mapping[str, ModelSchema]
    estimator: None = None

    @classmethod
    def read(cls, path: Path) -> "CompositeSource":
        """The composite of an author's file; its packages are checked file by file.

        Raises:
            PackageRefused: a field is at fault, a package is absent or damaged, or a digest that
                the author states is another.
        """
        written = read_author_file(path)
        packages = {
            name: (path.parent / place).resolve() for name, place in _places(path, written).items()
        }
        digests: dict[str, str] = {}
        for name, place in packages.items():
            digests[name] = package_digest(verify_files(place))
        stored = {**written, "nodes": [_stored(node, digests) for node in _nodes(written)]}
        try:
            document = CompositeDocument.model_validate(stored)
        except ValidationError as error:
            raise author_refused(path, first_fault(error)) from error
        for node in document.nodes:
            manifest = verify_files(packages[node.name])
            check_digest(manifest, node.digest, where=f"{path}: node {node.name}")
        schemas = {name: read_schema(place) for name, place in packages.items()}
        return cls(path, document, packages, schemas)

    @property
    def extras(self) -> Sequence[OutputSpec]:
        """`node`, and what the document maps."""
        inputs = {spec.name: spec for schema in self.schemas.values() for spec in schema.inputs}
        fed = [
            inputs[spec.name].model_copy(update={"name": node.inputs.get(spec.name, spec.name)})
            for node in self.document.nodes
            for spec in self.schemas[node.name].inputs
        ]
        features = features_of(self.document, self.schemas)
        listed = {spec.name: spec for spec in fed if spec.name in features}
        return self._checked(list(listed.values()))

    def _checked(self, inputs: Sequence[Any]) -> Sequence[OutputSpec]:
        try:
            return build_graph(self.document, self.schemas, inputs).extras
        except GraphInvalid as error:
            raise self._refused(error) from error

    def features(self, known: Sequence[str]) -> list[str]:
        """The columns that nodes read, in the table's order.

        Raises:
            PackageRefused: GraphInvalid; the table lacks one.
        """
        wanted = features_of(self.document, self.schemas)
        absent = sorted(wanted - set(known))
        if absent:
            raise self._refused(
                GraphInvalid(
                    GraphFault.MISSING_INPUT,
                    f"there is no column and no output {absent[0]!r} for the nodes that read it",
                )
            )
        return [name for name in known if name in wanted]

    def classes(self, target: Any) -> Classes | None:  # noqa: ARG002 - the nodes know
        """Those of the first node that answers."""
        first = self.document.answer.of[0]
        if first not in self.schemas:
            raise self._refused(
                GraphInvalid(GraphFault.UNKNOWN_NODE, f"answer: there is no node {first}")
            )
        names = self.schemas[first].classes
        return None if names is None else Classes(names)

    def write(self, folder: Path, schema: ModelSchema, wanted: Format) -> tuple[Format, Runtime]:  # noqa: ARG002 - a composite has one format
        """Copies the nodes' packages, writes composite.json and loads it."""
        for name, place in self.packages.items():
            shutil.copytree(place, node_directory(folder, name), copy_function=shutil.copyfile)
        file = folder / Format.COMPOSITE.file
        file.write_bytes(self.document.to_bytes())
        check_composite(folder, list_files(folder, Format.COMPOSITE))
        return Format.COMPOSITE, load_runtime(file, Format.COMPOSITE, schema, threads=1)

    def agreement(self, runtime: Runtime, schema: ModelSchema, frame: Frame) -> None:
        """There is no estimator to compare with: the nodes are the model."""

    def close(self) -> None:
        """Nothing is open."""

    def _refused(self, error: GraphInvalid) -> PackageRefused:
        return PackageRefused(
            RefusalReason.GRAPH_INVALID, f"{self.path}: {error}", "correct the file"
        )


def _nodes(written: Mapping[str, object]) -> list[dict[str, object]]:
    listed = written.get("nodes")
    if not isinstance(listed, list):
        return []
    return [node for node in cast("list[object]", listed) if is_object(node)]


def _places(path: Path, written: Mapping[str, object]) -> dict[str, str]:
    """Where the package of each node is, as the author wrote it."""
    places: dict[str, str] = {}
    for node in _nodes(written):
        name, place = node.get("name"), node.get(USED)
        if not isinstance(name, str) or not isinstance(place, str):
            raise author_refused(path, f"nodes: each has a name and a {USED}, a directory")
        if name in places:
            raise PackageRefused(
                RefusalReason.GRAPH_INVALID,
                f"{path}: {GraphFault.DUPLICATE_NODE}: {name} is there twice",
                "give each node a name of its own",
            )
        places[name] = place
    return places


def _stored(node: Mapping[str, object], digests: Mapping[str, str]) -> dict[str, object]:
    kept = {name: value for name, value in node.items() if name != USED}
    return {"digest": digests[str(node["name"])], **kept}
