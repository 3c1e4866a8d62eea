"""Which operator serves a namespace. Pure.

Without a label, every operator does, and the Lease sees to it that only one acts. A namespace
with the label belongs to the operator of that name alone: to try a new release on one team's
namespace, or to keep tests apart from an installed operator.
"""

from mooring_operator.api.group import Label
from mooring_operator.core.decision import Manifest
from mooring_operator.io.fields import text_at


def assigned_to(namespace: Manifest | None) -> str:
    """The operator that a namespace asks for; empty: any."""
    return text_at(namespace, "metadata", "labels", Label.OPERATOR)


def serves(operator: str, namespace: Manifest | None) -> bool:
    """Whether the operator of this name serves the namespace."""
    return assigned_to(namespace) in ("", operator)
