"""What a decision about a Model reads, gathered from the cache."""

from datetime import datetime, timedelta

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.group import Kind, Label
from mooring_operator.api.model import Model
from mooring_operator.core.decision import Manifest
from mooring_operator.core.observation import ModelObservation
from mooring_operator.ids import ObjectKey
from mooring_operator.io.fields import text_at
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.links import key_of
from mooring_operator.reconcile.observe_jobs import observe_jobs, observe_records
from mooring_operator.reconcile.parse import parsed, parsed_or_none


def observe_model(
    cache: Cache, manifest: Manifest, now: datetime
) -> tuple[ModelObservation, timedelta | None]:
    """The observation, and when to look again for what is still on its way.

    Raises:
        Unparsable: the Model does not fit our types.
    """
    resource = parsed(Model, manifest)
    key, uid = key_of(manifest), resource.metadata.uid
    seen = observe_jobs(cache, key, uid, now)
    deployments = (
        parsed_or_none(ModelDeployment, item)
        for item in cache.linked(Kind.MODEL_DEPLOYMENT.value, key)
    )
    namespace = cache.get(ObjectKey("Namespace", "", key.namespace))
    observation = ModelObservation(
        resource=resource,
        jobs=seen.jobs,
        records=observe_records(cache, key, uid),
        deployments=tuple(item for item in deployments if item is not None),
        code_allowed=text_at(namespace, "metadata", "labels", Label.ALLOW_CODE.value) == "true",
    )
    return observation, seen.look_again
