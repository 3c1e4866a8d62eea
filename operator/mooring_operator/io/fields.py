"""Reading JSON of unknown shape: typed values or their absence, never a surprise.

Kubernetes objects are plain dicts here. These four functions are the only way in which the shell
looks into one, so that the rest of it is typed.
"""

from typing import Any, cast

Json = dict[str, Any]


def value_at(document: object, *path: str) -> object:
    """What lies at a path of keys; None where the path ends early."""
    for key in path:
        if not isinstance(document, dict):
            return None
        document = cast("Json", document).get(key)
    return document


def mapping_at(document: object, *path: str) -> Json:
    """The object at a path; empty when there is none."""
    value = value_at(document, *path)
    return cast("Json", value) if isinstance(value, dict) else {}


def objects_at(document: object, *path: str) -> list[Json]:
    """The objects of the list at a path; empty when there is none."""
    value = value_at(document, *path)
    if not isinstance(value, list):
        return []
    return [cast("Json", item) for item in cast("list[object]", value) if isinstance(item, dict)]


def text_at(document: object, *path: str) -> str:
    """The text at a path; empty when there is none."""
    value = value_at(document, *path)
    return value if isinstance(value, str) else ""


def number_at(document: object, *path: str) -> int:
    """The whole number at a path; 0 when there is none."""
    value = value_at(document, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
