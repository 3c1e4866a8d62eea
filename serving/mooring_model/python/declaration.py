"""python.json: which class of the package is the model, and what its process may take."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from mooring_model.documents import read_typed

DECLARATION = "python.json"
CODE, DATA, WHEELS = "code", "data", "wheels"
LOCK = "requirements.lock"
_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"


class _Document(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True
    )


class ChildLimits(_Document):
    """What the model's process may take; beyond it the kernel or the server ends it."""

    memory_bytes: Annotated[int, Field(ge=128 << 20, le=64 << 30)] = 1 << 30
    """Address space, libraries included."""
    call_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    """Longest prediction."""
    start_seconds: Annotated[int, Field(ge=1, le=600)] = 60
    """Longest import and construction."""
    open_files: Annotated[int, Field(ge=16, le=1024)] = 64


class Declaration(_Document):
    """python.json."""

    entrypoint: Annotated[str, Field(pattern=rf"^{_NAME}(?:\.{_NAME}){{0,5}}:{_NAME}$")]
    """`module:Class` or `package.module:Class`, looked for in `code/` alone."""
    limits: ChildLimits = ChildLimits()

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return self.entrypoint.partition(":")[0]

    @property
    def class_name(self) -> str:
        """The class in it."""
        return self.entrypoint.partition(":")[2]

    @property
    def files(self) -> tuple[str, str]:
        """The two places where the module can be."""
        path = f"{CODE}/{self.module.replace('.', '/')}"
        return f"{path}.py", f"{path}/__init__.py"


_DECLARATIONS = TypeAdapter(Declaration)


def read_declaration(directory: Path) -> Declaration:
    """The package's declaration.

    Raises:
        PackageRefused: SchemaInvalid, naming the field.
    """
    return read_typed(directory / DECLARATION, _DECLARATIONS)
