"""What a decision about a RetrainPolicy reads, gathered from the cache."""

from datetime import datetime, timedelta

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.group import Kind
from mooring_operator.api.model import Model
from mooring_operator.api.retrain import RetrainPolicy
from mooring_operator.core.decision import Manifest
from mooring_operator.core.observation import RetrainObservation
from mooring_operator.ids import ObjectKey
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.links import key_of
from mooring_operator.reconcile.observe_jobs import observe_jobs, observe_records
from mooring_operator.reconcile.parse import parsed, parsed_or_none


def observe_retrain(
    cache: Cache, manifest: Manifest, now: datetime
) -> tuple[RetrainObservation, timedelta | None]:
    """The observation, and when to look again for what is still on its way.

    Raises:
        Unparsable: the RetrainPolicy does not fit our types.
    """
    resource = parsed(RetrainPolicy, manifest)
    key = key_of(manifest)
    seen = observe_jobs(cache, key, resource.metadata.uid, now)
    place = ObjectKey(Kind.MODEL_DEPLOYMENT.value, key.namespace, resource.spec.deployment.name)
    deployment = parsed_or_none(ModelDeployment, cache.get(place))
    model = None
    if deployment is not None:
        model_key = ObjectKey(Kind.MODEL.value, key.namespace, deployment.spec.model.name)
        model = parsed_or_none(Model, cache.get(model_key))
    observation = RetrainObservation(
        resource=resource,
        deployment=deployment,
        model=model,
        jobs=seen.jobs,
        records=(
            ()
            if model is None
            else observe_records(
                cache,
                ObjectKey(Kind.MODEL.value, key.namespace, model.metadata.name),
                model.metadata.uid,
            )
        ),
    )
    return observation, seen.look_again
