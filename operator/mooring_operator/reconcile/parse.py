"""Kubernetes objects as our types, parsed once at the edge."""

from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from mooring_operator.api.base import ApiModel
from mooring_operator.core.decision import Manifest
from mooring_operator.errors import Unparsable
from mooring_operator.io.fields import objects_at, text_at

ResourceT = TypeVar("ResourceT", bound=ApiModel)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def parsed(type_: type[ResourceT], manifest: Manifest) -> ResourceT:
    """The resource as our type.

    Raises:
        Unparsable: it does not fit; names the first bad field.
    """
    try:
        return type_.model_validate(manifest)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Unparsable(field, f"{field}: {first['msg']}") from error


def parsed_or_none(type_: type[ResourceT], manifest: Manifest | None) -> ResourceT | None:
    """Someone else's resource: absent when it is not there or does not fit. It says so itself."""
    if manifest is None:
        return None
    try:
        return type_.model_validate(manifest)
    except ValidationError:
        return None


def time_at(document: object, *path: str) -> datetime:
    """The time at a path; 1970 when there is none that can be read."""
    text = text_at(document, *path)
    if not text:
        return _BEGINNING
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return _BEGINNING


def controller_uid(manifest: Manifest) -> str:
    """Uid of the controlling owner; empty when there is none."""
    for reference in objects_at(manifest, "metadata", "ownerReferences"):
        if reference.get("controller") is True:
            return text_at(reference, "uid")
    return ""


def is_condition_true(manifest: Manifest, type_: str) -> bool:
    """Whether a status condition is present and True."""
    return any(
        text_at(item, "type") == type_ and text_at(item, "status") == "True"
        for item in objects_at(manifest, "status", "conditions")
    )


def is_going(manifest: Manifest) -> bool:
    """Whether the object is being deleted."""
    return bool(text_at(manifest, "metadata", "deletionTimestamp"))
