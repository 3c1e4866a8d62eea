"""Which observation and which decision belong to a kind. The only place that knows all three."""

from collections.abc import Callable, Mapping
from datetime import datetime

from mooring_operator.api.group import Kind
from mooring_operator.core.decision import Manifest, OperatorConfig
from mooring_operator.core.observation import TelemetryObservation
from mooring_operator.core.registry.plan import decide as decide_model
from mooring_operator.core.retrain.plan import decide as decide_retrain
from mooring_operator.core.rollout.plan import decide as decide_deployment
from mooring_operator.ids import ObjectKey
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.links import key_of
from mooring_operator.reconcile.loop import Decide, Decided
from mooring_operator.reconcile.observe_deployment import observe_deployment
from mooring_operator.reconcile.observe_model import observe_model
from mooring_operator.reconcile.observe_retrain import observe_retrain

Telemetry = Callable[[ObjectKey], TelemetryObservation | None]
MakeDeciders = Callable[[Cache, OperatorConfig, Telemetry], Mapping[str, Decide]]


def deciders(cache: Cache, config: OperatorConfig, telemetry: Telemetry) -> Mapping[str, Decide]:
    """Observe and decide, by kind."""

    def model(manifest: Manifest, _: tuple[str, ...], now: datetime) -> Decided:
        observation, look_again = observe_model(cache, manifest, now)
        return decide_model(observation, config, now), look_again

    def deployment(manifest: Manifest, foreign: tuple[str, ...], now: datetime) -> Decided:
        observation = observe_deployment(
            cache, manifest, foreign=foreign, telemetry=telemetry(key_of(manifest))
        )
        return decide_deployment(observation, config, now), None

    def policy(manifest: Manifest, _: tuple[str, ...], now: datetime) -> Decided:
        observation, look_again = observe_retrain(cache, manifest, now)
        return decide_retrain(observation, config, now), look_again

    return {
        Kind.MODEL.value: model,
        Kind.MODEL_DEPLOYMENT.value: deployment,
        Kind.RETRAIN_POLICY.value: policy,
    }
