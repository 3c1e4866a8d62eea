"""The twelve stories that faults strike into: what people do, each time that a condition holds."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mooring_operator.api.group import Annotation, Kind, Label
from mooring_operator.api.model import Model, Origin, VersionReport
from mooring_operator.core.observation import JobObservation
from mooring_operator.core.registry.answers import Verified
from mooring_operator.core.registry.records import Examined, verification_record
from mooring_operator.core.revision import revision_hash
from mooring_operator.io.clock import SystemClock
from mooring_operator.reconcile.parse import parsed
from tests.builders.registry import declared, refused_answer, verified_answer
from tests.builders.resources import DEPLOYMENT, IMAGE, MODEL, digest_of
from tests.builders.retrain import BY_HAND, LOG, OUTPUT, POLICY, comparison
from tests.faults.api import Object
from tests.faults.stage import Stage

Script = Callable[[Stage], Awaitable[None]]
MDEP = Kind.MODEL_DEPLOYMENT
RETRAINED = "retrained"
REFUSED = "v4"
"""The version whose package does not verify."""


def revision_of(version: str) -> str:
    return revision_hash(digest_of(version), IMAGE)


def answers(job: Object) -> tuple[bool, dict[str, Any]]:
    """What each Job comes to."""
    labels = job["metadata"]["labels"]
    if Label.RETRAIN_POLICY in labels:
        return True, comparison(job["metadata"]["name"], digest=digest_of(RETRAINED))
    version = labels[Label.MODEL_VERSION]
    if version == REFUSED:
        return False, refused_answer()
    # The name of a version that a run made holds a uid; its package is the same in every run.
    made = version.startswith(POLICY)
    return True, verified_answer(version, digest_of(RETRAINED if made else version))


async def prepare(stage: Stage, *versions: str, **spec: Any) -> None:
    """The Model with versions whose verdicts exist, before any operator runs."""
    created = await stage.create(
        Kind.MODEL,
        MODEL,
        {"purpose": "Predict late arrivals", "versions": [declared(v) for v in versions]} | spec,
    )
    model = parsed(Model, created)
    for seq, version in enumerate(versions, start=1):
        job = JobObservation(
            name=f"verify-{version}",
            uid="uid",
            created_at=SystemClock().now(),
            finished=True,
            succeeded=True,
            message=None,
        )
        entry = declared(version)
        examined = Examined(version, entry["digest"], entry["uri"], Origin.DECLARED, job, IMAGE)
        verified = Verified(entry["digest"], VersionReport(format="onnx"))
        record = verification_record(model, examined, verified, seq=seq, now=SystemClock().now())
        await stage.tools.api.create(stage.path("ControllerRevision"), record)


async def serving_v1(stage: Stage, **spec: Any) -> None:
    """The beginning of most stories."""
    await prepare(stage, "v1", "v2", "v3")
    await stage.start_operator()
    await stage.deploy(**spec)
    await stage.until_serving("v1", "Ready/Initialized")


async def first_deployment(stage: Stage) -> None:
    await serving_v1(stage)


async def promotion(stage: Stage) -> None:
    await serving_v1(stage)
    await stage.ask_for("v2")
    await stage.until_serving("v2", "Ready/Promoted")


async def rollback(stage: Stage) -> None:
    stage.simulator.traffic.error_rate[revision_of("v2")] = 0.5
    await serving_v1(stage)
    await stage.ask_for("v2")
    await stage.until_serving("v1", "Stalled/RolledBack")


async def retry(stage: Stage) -> None:
    await rollback(stage)
    stage.simulator.traffic.error_rate.clear()
    await stage.annotate(MDEP, DEPLOYMENT, Annotation.RETRY, f"{revision_of('v2')}@mended")
    await stage.until_serving("v2", "Ready/Promoted")


async def change_mid_candidate(stage: Stage) -> None:
    await serving_v1(stage)
    stage.simulator.traffic.flowing = False
    await stage.ask_for("v2")
    await stage.until_analysing("v2")
    await stage.ask_for("v3")
    await stage.until_analysing("v3")
    stage.simulator.traffic.flowing = True
    await stage.until_serving("v3", "Ready/Promoted")


async def revert_mid_candidate(stage: Stage) -> None:
    await serving_v1(stage)
    stage.simulator.traffic.flowing = False
    await stage.ask_for("v2")
    await stage.until_analysing("v2")
    await stage.ask_for("v1")
    await stage.until_serving("v1", "Ready/Initialized")


async def channel_move(stage: Stage) -> None:
    await prepare(stage, "v1", "v2", channels=[{"name": "live", "version": "v1"}])
    await stage.start_operator()
    await stage.deploy(model={"name": MODEL, "channel": "live"})
    await stage.until_serving("v1", "Ready/Initialized")
    await stage.edit(Kind.MODEL, MODEL, channels=[{"name": "live", "version": "v2"}])
    await stage.until_serving("v2", "Ready/Promoted")


async def made_anew(stage: Stage) -> None:
    await serving_v1(stage)
    # A pass that is under way when its owner goes may make a child once more, which is collected.
    await stage.at_rest()
    await stage.tools.api.delete(stage.path(MDEP.value, DEPLOYMENT))
    await stage.until(
        lambda: stage.room.get(MDEP.value, DEPLOYMENT) is None, "the deployment deleted"
    )
    await stage.deploy(model={"name": MODEL, "version": "v2"})
    await stage.until_serving("v2", "Ready/Initialized")


async def replicas(stage: Stage) -> None:
    await serving_v1(stage)
    await _scale(stage, 3)
    await _scale(stage, 1)


async def _scale(stage: Stage, count: int) -> None:
    await stage.edit(MDEP, DEPLOYMENT, replicas=count)
    wanted = f"{count}/{count}"

    def holds() -> bool:
        ready = stage.deployment.get("ready") == wanted
        return ready and stage.standing() == "Ready/Initialized"

    await stage.until(holds, f"{wanted} pods ready")


def _phase(stage: Stage, version: str) -> str:
    versions = stage.status(Kind.MODEL, MODEL).get("versions", [])
    return next((known["phase"] for known in versions if known["name"] == version), "")


async def version_added(stage: Stage) -> None:
    await prepare(stage, "v1")
    await stage.start_operator()
    await stage.until(lambda: _phase(stage, "v1") == "Verified", "v1 verified")
    names = ("v1", "v2", REFUSED)
    await stage.edit(Kind.MODEL, MODEL, versions=[declared(name) for name in names])
    await stage.until(
        lambda: _phase(stage, "v2") == "Verified" and _phase(stage, REFUSED) == "Refused",
        "the new versions judged",
    )
    await stage.deploy(model={"name": MODEL, "version": "v2"})
    await stage.until_serving("v2", "Ready/Initialized")


async def retraining(stage: Stage) -> None:
    await serving_v1(stage, predictionLog=dict(LOG))
    policy: Mapping[str, Any] = {
        "deployment": {"name": DEPLOYMENT},
        "triggers": [dict(BY_HAND)],
        "output": OUTPUT,
    }
    await stage.create(Kind.RETRAIN_POLICY, POLICY, policy)
    await stage.until(
        lambda: stage.standing(Kind.RETRAIN_POLICY, POLICY) == "Ready/Watching", "a policy watching"
    )
    await stage.annotate(Kind.RETRAIN_POLICY, POLICY, Annotation.RETRAIN, "once")

    def recorded() -> bool:
        status = stage.status(Kind.RETRAIN_POLICY, POLICY)
        result: dict[str, Any] = status.get("lastResult") or {}
        return result.get("verdict") == "Accepted" and _phase(stage, result["run"]) == "Verified"

    await stage.until(recorded, "the challenger recorded and verified")


async def paused(stage: Stage) -> None:
    await serving_v1(stage)
    stage.simulator.traffic.flowing = False
    await stage.ask_for("v2")
    await stage.until_analysing("v2")
    await stage.edit(MDEP, DEPLOYMENT, paused=True)
    await stage.until(lambda: stage.standing() == "Reconciling/UserPaused", "paused")
    stage.simulator.traffic.flowing = True
    await stage.edit(MDEP, DEPLOYMENT, paused=False)
    await stage.until_serving("v2", "Ready/Promoted")


SCENARIOS: Mapping[str, Script] = {
    "first-deployment": first_deployment,
    "promotion": promotion,
    "rollback": rollback,
    "retry": retry,
    "change-mid-candidate": change_mid_candidate,
    "revert-mid-candidate": revert_mid_candidate,
    "channel-move": channel_move,
    "made-anew": made_anew,
    "replicas": replicas,
    "version-added": version_added,
    "retraining": retraining,
    "paused": paused,
}
BEGINS_WITH: Mapping[str, str] = {
    "promotion": "first-deployment",
    "rollback": "first-deployment",
    "retry": "rollback",
    "change-mid-candidate": "first-deployment",
    "revert-mid-candidate": "first-deployment",
    "made-anew": "first-deployment",
    "replicas": "first-deployment",
    "paused": "first-deployment",
}
"""Stories that begin as another one does, whose crashes need no second proof."""
