"""Writes .skops files that depend on nothing but the estimator.

skops numbers objects by their memory address, names members after it and stamps them with the time;
two dumps of one estimator differ. Here the numbers are counted in order of appearance and the clock
is left out, so that the same model has the same digest.
"""

import importlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, cast

from mooring_model.errors import PackageRefused, RefusalReason

_io: Any = importlib.import_module("skops.io")
_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
DUMP_ERRORS = (TypeError, ValueError, AttributeError, KeyError, NotImplementedError, RuntimeError)


def write_skops(estimator: object, path: Path) -> None:
    """Stores a fitted estimator.

    Raises:
        PackageRefused: LoadFailed; skops cannot store a part of it.
    """
    try:
        dumped: bytes = _io.dumps(estimator)
    except DUMP_ERRORS as error:
        raise PackageRefused(
            RefusalReason.LOAD_FAILED,
            f"{type(estimator).__name__} cannot be stored with skops: {str(error)[:300]}",
            "use scikit-learn's own estimators, or export the model to ONNX yourself",
        ) from error
    path.write_bytes(canonical_skops(dumped))


def canonical_skops(dumped: bytes) -> bytes:
    """The same .skops file with addresses, random names and times replaced by counters."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(dumped)) as source,
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive,
    ):
        document: Any = json.loads(source.read(_SCHEMA))
        numbers: dict[object, int] = {}
        names: dict[str, str] = {}
        for node in _nodes(document):
            if "__id__" in node:
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
            if isinstance(node.get("file"), str):
                suffix = PurePosixPath(node["file"]).suffix
                node["file"] = names.setdefault(node["file"], f"{len(names) + 1}{suffix}")
        for old, new in names.items():
            archive.writestr(zipfile.ZipInfo(new, _EPOCH), source.read(old))
        text = json.dumps(document, indent=1)
        archive.writestr(zipfile.ZipInfo(_SCHEMA, _EPOCH), text)
    return target.getvalue()


Node = dict[str, Any]


def _nodes(document: Any) -> Iterator[Node]:
    """Every object of a JSON document in its order, members of sets sorted."""
    waiting: list[Any] = [document]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            node = cast("Node", item)
            if node.get("__class__") in ("set", "frozenset"):
                _sort_members(node)
            yield node
            waiting.extend(reversed(list(node.values())))
        elif isinstance(item, list):
            members = cast("list[Any]", item)
            waiting.extend(reversed(members))


def _sort_members(node: Node) -> None:
    """The order of a set depends on the process' hash seed."""
    members: list[Node] = node.get("content") or []
    members.sort(key=_content)


def _content(node: Node) -> str:
    return str(node.get("content"))
