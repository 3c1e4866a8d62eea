"""The seam between the three ways to a cluster: embedded, kind, existing."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from tests.cluster_tools.errors import ClusterError

PROVIDER_VARIABLE = "MOORING_CLUSTER_PROVIDER"
CONFIRM_VARIABLE = "MOORING_CLUSTER_CONFIRM"
INPUTS_LABEL = "mooring.dev/inputs"


class ProviderName(StrEnum):
    """Where the cluster comes from."""

    EMBEDDED = "embedded"
    """Built and run by us on this machine (Linux, root)."""
    KIND = "kind"
    """Made by kind in Docker."""
    EXISTING = "existing"
    """The current kubeconfig context, after confirmation."""


class Provider(Protocol):
    """One way to a cluster."""

    @property
    def name(self) -> ProviderName: ...

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig to use; it exists once the cluster is up."""
        ...

    def kubectl_path(self) -> Path:
        """The kubectl to use."""
        ...

    def up(self) -> None:
        """Bring the cluster up, or return at once when it is healthy."""
        ...

    def down(self, *, purge: bool = False) -> None:
        """Take the cluster down; with `purge` what a next `up` could reuse goes too."""
        ...

    def healthy(self) -> bool:
        """Whether the cluster is there and ready."""
        ...

    def status(self) -> list[str]:
        """What there is to say about it, one line each."""
        ...

    def load_image(self, archive: Path, *, name: str = "", inputs: str = "") -> None:
        """Put an OCI or Docker archive on the node; label the image `name` with `inputs`."""
        ...

    def image_inputs(self) -> dict[str, str]:
        """Image name -> the `inputs` that it was loaded with ("" when without)."""
        ...


def chosen_provider(option: str | None) -> ProviderName:
    """The provider that the option, else the environment, asks for; embedded when neither does.

    Raises:
        ClusterError: there is no such provider.
    """
    text = option or os.environ.get(PROVIDER_VARIABLE) or ProviderName.EMBEDDED
    try:
        return ProviderName(text)
    except ValueError as error:
        known = ", ".join(ProviderName)
        raise ClusterError(
            f"there is no cluster provider {text!r}: choose one of {known}"
        ) from error


def parse_image_list(text: str) -> dict[str, str]:
    """Image name -> its inputs label ("" when without), from the output of `ctr images list`."""
    inputs: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        words = line.split()
        labels = dict(pair.split("=", 1) for pair in words[-1].split(",") if "=" in pair)
        inputs[words[0]] = labels.get(INPUTS_LABEL, "")
    return inputs
