"""The JSON documents of a package: read within bounds, refused by name.

Their author is not trusted: a document may be huge, nested without end, or hold numbers that no
float holds. None of that may end in another error than a refusal.
"""

import json
from pathlib import Path
from typing import NoReturn, TypeGuard, TypeVar

from pydantic import TypeAdapter, ValidationError

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import MAX_DOCUMENT_BYTES, first_fault

T = TypeVar("T")


def read_document(path: Path) -> object:
    """The JSON value in a file.

    Raises:
        PackageRefused: SchemaInvalid; it is absent, too large, no JSON, or holds NaN or Infinity.
    """
    try:
        return json.loads(read_bounded(path), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise document_invalid(path, f"{type(error).__name__}: {str(error)[:200]}") from error


def read_typed(path: Path, adapter: TypeAdapter[T]) -> T:
    """The document in a file, as the type that it must have.

    Raises:
        PackageRefused: SchemaInvalid, naming the field.
    """
    try:
        return adapter.validate_json(read_bounded(path))
    except ValidationError as error:
        raise document_invalid(path, first_fault(error)) from error


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a value read from JSON is an object."""
    return isinstance(value, dict)


def document_invalid(path: Path, what: str) -> PackageRefused:
    """The refusal of a document."""
    return PackageRefused(
        RefusalReason.SCHEMA_INVALID,
        f"{path.parent}: {path.name}: {what}",
        "package the model again with `mooring package`",
    )


def read_bounded(path: Path) -> bytes:
    """The bytes of a document.

    Raises:
        PackageRefused: SchemaInvalid; it is absent or too large.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise document_invalid(path, error.strerror or type(error).__name__) from error
    if len(data) > MAX_DOCUMENT_BYTES:
        raise document_invalid(path, f"larger than {MAX_DOCUMENT_BYTES} bytes")
    return data


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
