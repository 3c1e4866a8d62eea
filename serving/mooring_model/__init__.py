"""The model package on disk: building, verifying, loading, and the stores that it travels through.

`package` is what a notebook calls last; it is imported on first use, so that a server that only
loads packages needs neither pandas nor scikit-learn.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mooring_model.build import package

__all__ = ["package"]


def __getattr__(name: str) -> Any:
    if name != "package":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mooring_model.build import package

    return package
