"""Which shares of traffic a mode reaches, and what a rollout without weights cannot judge."""

from mooring_operator.api.deployment import (
    GATEWAY_AND_MODE,
    WEIGHTS_UNREACHABLE,
    AnalysisMetric,
    ModelDeploymentSpec,
    TrafficMode,
)


def traffic_problem(spec: ModelDeploymentSpec) -> str | None:
    """What is wrong between traffic and steps, with the remedy; None when nothing is.

    Modes Forward and Gateway divide request by request, so that they reach every whole weight with
    any number of pods. The API server refuses weights in mode BlueGreen too, and mode Gateway
    without a Gateway; an object from before these rules comes here.
    """
    gateway_asked = spec.traffic.gateway is not None
    if gateway_asked != (spec.traffic.mode is TrafficMode.GATEWAY):
        return f"spec.traffic: {GATEWAY_AND_MODE}"
    steps = spec.rollout.steps
    weights = [step.weight for step in steps if step.weight is not None]
    if spec.traffic.mode is TrafficMode.BLUE_GREEN and weights:
        asked = ", ".join(str(weight) for weight in weights)
        return f"spec.rollout.steps asks for the weights {asked}: {WEIGHTS_UNREACHABLE}"
    if not weights and AnalysisMetric.LOSS in spec.rollout.analysis.metrics:
        return (
            "spec.rollout.analysis.metrics has loss, but no step of spec.rollout.steps has a"
            " weight: shadowed answers never get labels, so that loss would stay undecided; take"
            " loss out of metrics, or add a step with weight (mode Forward or Gateway)"
        )
    return None
