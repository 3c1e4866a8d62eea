"""Tampering with packages: what an attacker leaves, and what the check says of it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mooring_model.errors import PackageRefused
from mooring_model.manifest import Format, write_manifest
from mooring_model.verify import check
from tests.serving.packaged_models import CREATED


class Canary:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


def relist(directory: Path, format_: Format = Format.ONNX) -> None:
    """Makes the manifest list what is there: an author of bad packages can do that too."""
    (directory / "manifest.json").unlink(missing_ok=True)
    write_manifest(directory, model="m", format_=format_, created_at=CREATED)


def refusal(directory: Path, digest: str | None = None) -> PackageRefused:
    """The refusal of the check that loads nothing."""
    with pytest.raises(PackageRefused) as refused:
        check(directory, digest)
    assert refused.value.remedy
    return refused.value


def edit(path: Path, **changes: object) -> None:
    """Changes fields of a JSON document."""
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | changes))
