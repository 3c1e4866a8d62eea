"""Documents that a person writes, YAML or JSON: rules, composites. The only importer of yaml.

A key that is given twice is refused, since one of the two would be lost; so are references
(`*name`), which could blow a small file up.
"""

import importlib
from pathlib import Path
from typing import Any

from mooring_model.documents import is_object
from mooring_model.errors import PackageRefused, RefusalReason

MAX_BYTES = 4 << 20
SUFFIXES = (".yaml", ".yml", ".json")
_yaml: Any = importlib.import_module("yaml")


def read_author_file(path: Path) -> dict[str, object]:
    """The object in a YAML or JSON file.

    Raises:
        PackageRefused: SchemaInvalid, with line and column; PackageNotFound.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise author_refused(path, f"larger than {MAX_BYTES} bytes")
        _check_plain(data)
        document: object = _yaml.safe_load(data)
    except OSError as error:
        raise PackageRefused(
            RefusalReason.PACKAGE_NOT_FOUND, f"{path}: {error.strerror}", "give the file's path"
        ) from error
    except (_yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise author_refused(path, _words(error)) from error
    if not is_object(document):
        raise author_refused(path, "is no object of fields and values")
    return document


def _check_plain(data: bytes) -> None:
    """Raises a YAML error where a reference is made, or a key given twice."""
    for event in _yaml.parse(data, Loader=_yaml.SafeLoader):
        if isinstance(event, _yaml.AliasEvent):
            raise _fault("references are not read; write the value again", event.start_mark)
    waiting: list[Any] = [_yaml.compose(data, Loader=_yaml.SafeLoader)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, _yaml.MappingNode):
            seen: set[object] = set()
            for key, value in node.value:
                if not isinstance(key, _yaml.ScalarNode):
                    raise _fault("a name must be a text", key.start_mark)
                if key.value in seen:
                    raise _fault(f"{key.value!r} is given twice", key.start_mark)
                seen.add(key.value)
                waiting.append(value)


def _fault(what: str, mark: Any) -> Exception:
    return _yaml.constructor.ConstructorError(None, None, what, mark)


def author_refused(path: Path, what: str) -> PackageRefused:
    """The refusal of what a person wrote."""
    return PackageRefused(RefusalReason.SCHEMA_INVALID, f"{path}: {what}", "correct the file")


def _words(error: Exception) -> str:
    mark: Any = getattr(error, "problem_mark", None)
    problem: object = getattr(error, "problem", None)
    if mark is None:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
