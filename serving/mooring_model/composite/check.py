"""A composite on disk: each node's folder is the very package that composite.json names."""

from collections.abc import Sequence
from pathlib import Path

from mooring_model.composite.document import NODES, CompositeDocument, read_composite
from mooring_model.composite.faults import GraphFault, GraphInvalid, refuse_graph
from mooring_model.content import check_format
from mooring_model.manifest import (
    MANIFEST,
    FileEntry,
    Format,
    Manifest,
    check_digest,
    read_manifest,
)


def node_directory(directory: Path, name: str) -> Path:
    """Where a node's package is."""
    return directory / NODES / name


def check_composite(directory: Path, files: Sequence[FileEntry]) -> CompositeDocument:
    """Digest, files and format of every node. Loads no model.

    Args:
        directory: the composite, its files already checked against its manifest.
        files: what the manifest lists.

    Raises:
        PackageRefused: naming the node and what is wrong with it.
    """
    path = directory / Format.COMPOSITE.file
    document = read_composite(path)
    try:
        _check_names(document, files)
        for node in document.nodes:
            place = node_directory(directory, node.name)
            manifest = read_manifest(place)
            check_digest(manifest, node.digest, where=f"node {node.name} of {directory}")
            _check_kind(node.name, manifest)
            _check_files(node.name, manifest, files)
            check_format(place, manifest)
    except GraphInvalid as error:
        raise refuse_graph(path, error) from error
    return document


def _check_names(document: CompositeDocument, files: Sequence[FileEntry]) -> None:
    names = [node.name for node in document.nodes]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise GraphInvalid(GraphFault.DUPLICATE_NODE, f"{min(twice)} is there twice")
    folders = {entry.path.split("/")[1] for entry in files if entry.path.startswith(f"{NODES}/")}
    if folders != set(names):
        odd = min(folders ^ set(names))
        raise GraphInvalid(
            GraphFault.UNKNOWN_NODE,
            f"{odd} has a folder and no entry" if odd in folders else f"{odd} has no folder",
        )


def _check_kind(name: str, manifest: Manifest) -> None:
    if manifest.format is Format.COMPOSITE:
        raise GraphInvalid(
            GraphFault.NESTED, f"{name} is a composite; list its nodes in this one instead"
        )
    if manifest.format is Format.PYTHON:
        raise GraphInvalid(
            GraphFault.CODE_NODE,
            f"{name} is a package of code, which only runs as a model of its own",
        )


def _check_files(name: str, manifest: Manifest, files: Sequence[FileEntry]) -> None:
    """The node's manifest lists what the composite's lists in its folder."""
    prefix = f"{NODES}/{name}/"
    outer = {
        (entry.path.removeprefix(prefix), entry.size, entry.sha256)
        for entry in files
        if entry.path.startswith(prefix)
    }
    inner = {(entry.path, entry.size, entry.sha256) for entry in manifest.files}
    odd = {entry for entry in outer ^ inner if entry[0] != MANIFEST}
    if odd:
        raise GraphInvalid(
            GraphFault.UNKNOWN_NODE,
            f"{name}: its manifest and the composite's differ on {min(odd)[0]}",
        )
