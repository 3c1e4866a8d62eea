"""One error budget a rollout: how much of alpha each comparison may spend.

By the union bound the chance that any of them is ever wrong stays below alpha, however they depend
on each other. A comparison spends its part once: for any truth only one of `FAIL` and `PASS` can be
wrong, so both directions share it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mooring_profile.errors import CountsInvalid

_ROUNDING = 1e-9


@dataclass(frozen=True)
class ErrorBudget:
    """Alpha of a rollout and each metric's part of it.

    Attributes:
        alpha: 0 to 1 exclusive: limit on the chance of any wrong verdict in the rollout.
        weights: by name, each above 0, together 1.

    Raises:
        CountsInvalid: alpha or a weight is out of its range, or the weights do not sum to 1.
    """

    alpha: float
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise CountsInvalid(f"alpha is {self.alpha}; it must lie between 0 and 1")
        for name, weight in self.weights.items():
            if not 0 < weight <= 1:
                raise CountsInvalid(f"the weight of {name} is {weight}; it must be within (0, 1]")
        total = math.fsum(self.weights.values())
        if abs(total - 1) > _ROUNDING:
            raise CountsInvalid(f"the weights sum to {total}; give parts of 1, each metric one")

    @classmethod
    def even(cls, alpha: float, names: Sequence[str]) -> "ErrorBudget":
        """The same part for every name; at least one, each once."""
        return cls(alpha, {name: 1 / len(names) for name in names})

    def part(self, name: str) -> float:
        """The alpha that a metric may spend.

        Raises:
            CountsInvalid: the budget has nothing for it; a verdict outside of it has no guarantee.
        """
        if name not in self.weights:
            raise CountsInvalid(f"the budget has no part for {name}; give it a weight")
        return self.alpha * self.weights[name]
