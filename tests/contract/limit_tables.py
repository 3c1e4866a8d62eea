"""The server's limits and refusals as rows of a page, from the source that declares them.

`operator/docs/serving-api.md` holds these rows word for word;
`python -m tests.contract.limit_tables` prints them.
"""

import ast
import sys
import typing
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from mooring_serving import limits, refusals
from mooring_serving.limits import PREFIX, GrpcLimits, HttpLimits, TensorLimits, WorkLimits
from mooring_serving.refusals import Refusal

KINDS = (HttpLimits, TensorLimits, WorkLimits, GrpcLimits)


def docstrings(module: str, owner: str) -> dict[str, str]:
    """The attribute docstrings of a class, by name."""
    found: dict[str, str] = {}
    for node in ast.parse(module).body:
        if not isinstance(node, ast.ClassDef) or node.name != owner:
            continue
        for statement, follower in zip(node.body, node.body[1:], strict=False):
            target = statement.target if isinstance(statement, ast.AnnAssign) else None
            if isinstance(statement, ast.Assign):
                target = statement.targets[0]
            if isinstance(target, ast.Name) and isinstance(follower, ast.Expr):
                found[target.id] = " ".join(ast.literal_eval(follower.value).split())
    return found


def number(value: float) -> str:
    """A number as a person reads it."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"


def limit_rows() -> Iterator[str]:
    """A row for each limit."""
    source = Path(limits.__file__).read_text()
    for kind in KINDS:
        meanings = docstrings(source, kind.__name__)
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            (bounds,) = hints[field.name].__metadata__
            ends = {type(part).__name__: part for part in bounds.metadata}
            low = ends["Ge"].ge if "Ge" in ends else ends["Gt"].gt
            span = f"{'' if 'Ge' in ends else 'above '}{number(low)} to {number(ends['Le'].le)}"
            yield (
                f"| `{PREFIX}{field.name.upper()}` | {number(getattr(kind(), field.name))} |"
                f" {span} | {meanings[field.name]} |"
            )


def refusal_rows() -> Iterator[str]:
    """A row for each reason of a refusal."""
    meanings = docstrings(Path(refusals.__file__).read_text(), "Refusal")
    for reason in Refusal:
        yield f"| `{reason.value}` | {meanings[reason.name]} |"


if __name__ == "__main__":
    for row in (*limit_rows(), *refusal_rows()):
        sys.stdout.write(f"{row}\n")
