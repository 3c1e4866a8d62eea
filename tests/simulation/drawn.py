"""What hypothesis draws for a simulated deployment: specs that the API server accepts, and faults.

Faults are far from every margin, so that a verdict does not hang on the luck of a sample.
"""

from typing import Any

from hypothesis import strategies as st

from tests.simulation.cluster import Behaviour
from tests.simulation.world import LARGE

VERSIONS = ("v1", "v2", "v3", "v4")
MISSING = "v9"
"""A version that the Model does not have."""
CHANNEL = "live"
CRASH_LOOP = "container server: Error (exit code 1)"
PLAIN: dict[str, Any] = {"steps": [{"shadow": 50, "minRows": 100}]}
"""A rollout that every mode and metric allows but loss."""

rarely = st.sampled_from((False,) * 7 + (True,))
versions = st.sampled_from((*VERSIONS, *VERSIONS, *VERSIONS, MISSING))
faults = st.sampled_from(
    (
        Behaviour(),
        Behaviour(),
        Behaviour(error_rate=0.3),
        Behaviour(invalid_rate=0.3),
        Behaviour(slow_rate=0.5),
        Behaviour(loss=0.45),
        Behaviour(start_seconds=90.0),
        Behaviour(starts=False, failure=CRASH_LOOP),
        Behaviour(starts=False),
    )
)

_percent = st.sampled_from([1, 10, 34, 50, 99])
_rows = st.sampled_from([1, 100, 400])
_shadow = st.fixed_dictionaries({"shadow": _percent, "minRows": _rows})
_weight = st.fixed_dictionaries({"weight": _percent, "minRows": _rows})
_metrics = st.sampled_from(
    (
        ["errors"],
        ["errors", "invalidOutputs", "latency"],
        ["errors", "loss"],
        ["latency"],
    )
)
_analysis = st.fixed_dictionaries(
    {
        "metrics": _metrics,
        "margins": st.just({"errors": 0.05, "invalidOutputs": 0.05, "latency": 0.1, "loss": 0.1}),
        "maxDuration": st.sampled_from(("2m", "5m")),
        "onUndecided": st.sampled_from(("Pause", "Rollback", "Promote")),
        "metricsGrace": st.sampled_from(("0s", "20s", "2m")),
    },
    optional={"latencyQuantile": st.just(0.9)},
)
_forward = st.fixed_dictionaries(
    {"mode": st.just("Forward")}, optional={"stickyHeader": st.just("X-User")}
)


def _rollouts(steps: st.SearchStrategy[dict[str, int]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        _rollout,
        st.lists(steps, min_size=1, max_size=3),
        _analysis,
        st.sampled_from(("1m", "3m")),
        approval=rarely,
        invalid=rarely,
    )


def _rollout(
    steps: list[dict[str, int]],
    analysis: dict[str, Any],
    deadline: str,
    *,
    approval: bool,
    invalid: bool,
) -> dict[str, Any]:
    """Loss without a step that has labels is refused, not by the API server but in the status."""
    weighted = any("weight" in step for step in steps)
    metrics = [m for m in analysis["metrics"] if m != "loss" or weighted or invalid]
    return {
        "steps": steps,
        "analysis": analysis | {"metrics": metrics},
        "progressDeadline": deadline,
        "approval": {"required": approval},
    }


_gateway = st.fixed_dictionaries(
    {"mode": st.just("Gateway"), "gateway": st.sampled_from(({"name": "web"}, {"name": "edge"}))}
)
ways_in: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"rollout": _rollouts(st.one_of(_shadow, _weight)), "traffic": _forward}),
    st.fixed_dictionaries({"rollout": _rollouts(st.one_of(_shadow, _weight)), "traffic": _gateway}),
    st.fixed_dictionaries(
        {"rollout": _rollouts(_shadow), "traffic": st.just({"mode": "BlueGreen"})}
    ),
)
"""`rollout` and `traffic` together: the API server refuses weights in mode BlueGreen."""
rollbacks: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "keepWarm": st.sampled_from(("0s", "2m")),
        "soak": st.sampled_from(("0s", "1m", "10m")),
        "window": st.sampled_from(("15m", "72h")),
        "probe": st.just({"maxDuration": "2m"}),
        "cooldown": st.sampled_from(("0s", "0s", "1m", "30m")),
        "budget": st.sampled_from(
            ({"count": 1, "per": "10m"}, {"count": 2, "per": "24h"}, {"count": 20, "per": "1h"})
        ),
    },
    optional={
        "triggers": st.lists(
            st.sampled_from(("Startup", "Runtime", "Quality", "Drift")), unique=True
        ),
        "quarantineTTL": st.sampled_from(("1m", "3m", "24h")),
        "keepFailed": st.sampled_from(("1m", "3m")),
    },
)
monitoring: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"interval": st.just("10s"), "window": st.just("10s")},
    optional={"drift": st.just({}), "labels": st.just({"maturity": "1m"})},
)
replicas = st.integers(1, 4)
resources: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    ({}, {"requests": {"memory": "2Gi"}}, LARGE)
)
"""Of pods. Nothing with the large ones starts before there is a larger node."""
spans = st.sampled_from([1, 1, 2, 4, 8])
"""Ticks."""
