"""Texts of tenants in containers: taken as they are, never as references to variables. Pure.

The kubelet replaces `$(NAME)` in a container's command, arguments and values by its variables,
those that come from Secrets included. Somebody who may write our resources and read no Secret
could send a Secret's content away in a URI.
"""

from typing import Any

from mooring_operator.core.decision import Manifest


def literal(text: str) -> str:
    """The text with nothing for the kubelet to replace: it reads `$$` as `$`."""
    return text.replace("$", "$$")


def literal_container(container: Manifest) -> Manifest:
    """The container with its command, arguments and values as literal texts."""
    changed: dict[str, Any] = dict(container)
    for field in ("command", "args"):
        if field in container:
            changed[field] = [literal(word) for word in container[field]]
    if "env" in container:
        changed["env"] = [
            entry | {"value": literal(entry["value"])} if "value" in entry else entry
            for entry in container["env"]
        ]
    return changed
