"""What the kubelet makes of texts in containers (Kubernetes' third_party/forked/golang/expansion).

`$(NAME)` is a variable, `$$` a dollar sign; what names no variable stays as it is.
"""

from collections.abc import Iterator, Mapping
from typing import Any

SECRET = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 a variable's name
HOSTILE = f"s3://$({SECRET})/$$({SECRET})/$"


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The text as the container gets it."""
    made, at = "", 0
    while at < len(text):
        following = text[at + 1 : at + 2]
        if text[at] != "$" or not following:
            made, at = made + text[at], at + 1
        elif following == "$":
            made, at = made + "$", at + 2
        elif following == "(" and (end := text.find(")", at)) >= 0:
            name = text[at + 2 : end]
            made, at = made + variables.get(name, f"$({name})"), end + 1
        else:
            made, at = made + "$" + following, at + 2
    return made


def texts_of(pod: Mapping[str, Any]) -> Iterator[str]:
    """Every text of a pod's containers in which the kubelet looks for variables."""
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        yield from container.get("command", ())
        yield from container.get("args", ())
        for entry in container.get("env", ()):
            if "value" in entry:
                yield entry["value"]


def expands(pod: Mapping[str, Any]) -> list[str]:
    """Texts of a pod in which some variable would be replaced."""
    found: list[str] = []
    for text in texts_of(pod):
        plain = expand(text, {})
        # A name that is replaced shows as something else, whatever name it is.
        names = {part.split(")", 1)[0] for part in text.split("$(")[1:]}
        if expand(text, dict.fromkeys(names, "\0")) != plain:
            found.append(text)
    return found
