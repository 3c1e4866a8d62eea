"""Children by value: restricted pods, stable selectors, templates that know no role."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from mooring_operator.api.deployment_status import ModelDeploymentStatus, RetiredRevision
from mooring_operator.api.prediction_log import PredictionLog
from mooring_operator.api.runtime import Runtime
from mooring_operator.core.decision import Manifest, Route, RouteRole
from mooring_operator.core.manifests.children import children_of, obsolete
from mooring_operator.core.manifests.log import log_environment, log_problem
from mooring_operator.core.manifests.names import fixed_children
from mooring_operator.core.manifests.runtime import runtime_environment, runtime_problem
from mooring_operator.core.manifests.workload import claim_of
from mooring_operator.core.observation import DeploymentObservation
from mooring_operator.core.revision import reference_fields
from mooring_operator.core.rollout.plan import decide
from mooring_operator.ids import Revision
from tests.builders.observed import candidate, look, pods, ref, stable, status, telemetry
from tests.builders.resources import CONFIG, EPOCH, spec

ENVIRONMENT = {
    "MOORING_MODEL": "flight-delay",
    "MOORING_VERSION": "v1",
    "MOORING_REVISION": ref("v1").revision,
    "MOORING_DEPLOYMENT": "delays",
    "MOORING_DEPLOYMENT_UID": "deployment-uid",
    "MOORING_NAMESPACE": "flights-prod",
    "MOORING_ENVIRONMENT": "prod",
    "MOORING_SYNC_KEYS": "/etc/mooring/sync/keys.json",
    "MOORING_EVENT_TIME": "Arrival",
    "MOORING_DRAIN_SECONDS": "5",
    "MOORING_ALLOW_CODE": "true",
}
"""Contract §3."""


def children(
    resource_status: ModelDeploymentStatus, wire: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Manifest]:
    observation = look(resource_status, wire_spec=wire, **fields)
    made = children_of(observation, resource_status, CONFIG, EPOCH)
    return {f"{child['kind']} {child['metadata']['name']}": child for child in made}


def workload(version: str, made: dict[str, Manifest]) -> Manifest:
    return made[f"Deployment delays-{ref(version).revision}"]


def pod_of(deployment: Manifest) -> dict[str, Any]:
    return deployment["spec"]["template"]["spec"]


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value") for entry in container["env"]}


BOTH = status(stable=stable("v1"), candidate=candidate("v2"))


def test_children_are_applied_with_pods_before_the_services_that_lead_to_them() -> None:
    kinds = [key.split(" ")[0] for key in children(BOTH)]
    assert kinds == [
        "ServiceAccount",
        "ConfigMap",
        "NetworkPolicy",
        "Deployment",
        "Deployment",
        "PodDisruptionBudget",
        "Service",
        "Service",
    ]


def test_every_fixed_child_is_named_for_the_observer() -> None:
    made = children(status(stable=stable("v1")))
    fixed = {f"{child.kind} {child.name}" for child in fixed_children("delays")}
    assert fixed == {key for key in made if not key.startswith("Deployment ")}
    apis = {f"{c.kind} {c.name}": c.api_version for c in fixed_children("delays")}
    assert all(made[key]["apiVersion"] == api for key, api in apis.items())


def test_every_child_is_owned_and_labelled() -> None:
    for child in children(BOTH).values():
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("ModelDeployment", "deployment-uid")
        assert owner["controller"] is True
        assert owner["blockOwnerDeletion"] is True
        labels = child["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "mooring"
        assert labels["mooring.dev/deployment"] == "delays"


def test_pods_satisfy_pod_security_restricted_and_have_a_read_only_root() -> None:
    pod = pod_of(workload("v1", children(BOTH)))
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == 65532
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "requests" in container["resources"]
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"emptyDir", "configMap", "persistentVolumeClaim"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["terminationGracePeriodSeconds"] >= 45


def test_server_is_told_what_the_contract_lists() -> None:
    (server,) = pod_of(workload("v1", children(BOTH)))["containers"]
    told = environment(server)
    assert {name: value for name, value in told.items() if value is not None} == ENVIRONMENT
    paths = {
        e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"]
        for e in server["env"]
        if "valueFrom" in e
    }
    assert paths == {"MOORING_POD_UID": "metadata.uid", "MOORING_POD_NAME": "metadata.name"}
    assert "envFrom" not in server
    probes = [server[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe")]
    assert probes == ["/livez", "/readyz"]
    assert [port["containerPort"] for port in server["ports"]] == [8080, 8081, 8082]


def test_prediction_log_reaches_the_server_with_its_secret() -> None:
    log = {"uri": "s3://logs/here", "secretName": "mooring-logs"}
    wire = spec("v1", predictionLog=log, monitoring={"eventTime": "Request"})
    (server,) = pod_of(workload("v1", children(BOTH, wire)))["containers"]
    assert environment(server)["MOORING_PREDICTION_LOG_URI"] == "s3://logs/here"
    assert environment(server)["MOORING_EVENT_TIME"] == "Request"
    assert server["envFrom"] == [{"secretRef": {"name": "mooring-logs"}}]
    assert "MOORING_PREDICTION_LOG" not in environment(server)


def test_prediction_log_has_a_bounded_disk_of_its_own() -> None:
    pod = pod_of(workload("v1", children(BOTH, spec("v1", predictionLog={"uri": "s3://logs"}))))
    (server,) = pod["containers"]
    assert {"name": "log", "emptyDir": {"sizeLimit": "512Mi"}} in pod["volumes"]
    assert {"name": "log", "mountPath": "/var/lib/mooring-log"} in server["volumeMounts"]
    assert environment(server)["MOORING_PREDICTION_LOG_JOURNAL"] == "/var/lib/mooring-log"
    plain = pod_of(workload("v1", children(BOTH)))
    assert "log" not in {volume["name"] for volume in plain["volumes"]}


def test_prediction_log_reaches_the_server_with_its_salt_and_makes_no_revision() -> None:
    log = {
        "uri": "s3://logs/here",
        "sample": 0.1,
        "fields": {"hash": ["customer"], "saltSecretName": "mooring-salt"},
        "retention": "30d",
        "rotate": {"rows": 5000, "size": "2Mi", "age": "90s"},
    }
    (server,) = pod_of(workload("v1", children(BOTH, spec("v1", predictionLog=log))))["containers"]
    told = {item["name"]: item for item in server["env"]}
    assert json.loads(told["MOORING_PREDICTION_LOG"]["value"]) == {
        "sample": 0.1,
        "hash": ["customer"],
        "retentionSeconds": 2_592_000,
        "rotate": {"rows": 5000, "bytes": 2_097_152, "seconds": 90},
    }
    salt = {"secretKeyRef": {"name": "mooring-salt", "key": "salt"}}
    assert told["MOORING_PREDICTION_LOG_SALT"]["valueFrom"] == salt
    assert children(BOTH, spec("v1", predictionLog=log)).keys() == children(BOTH).keys()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"retention": "12h"}, "spec.predictionLog.retention is 12h: whole days are deleted"),
        ({"rotate": {"age": "2h"}}, "spec.predictionLog.rotate.age is 2h: set 1s to 1h"),
        ({"rotate": {"age": "0s"}}, "spec.predictionLog.rotate.age is 0s: set 1s to 1h"),
    ],
)
def test_log_that_the_server_would_refuse_is_told_and_kept_from_it(
    more: dict[str, Any], problem: str
) -> None:
    log = PredictionLog.model_validate({"uri": "s3://logs", **more})
    assert (log_problem(log) or "").startswith(problem)
    assert "MOORING_PREDICTION_LOG" not in {item["name"] for item in log_environment(log)}


def test_runtime_reaches_the_server_as_its_variables_and_makes_no_revision() -> None:
    runtime = {
        "workers": 2,
        "deadline": "1500ms",
        "batching": {"maxRows": 64, "maxWait": "0s"},
        "limits": {"bodyBytes": 65536, "headerTimeout": "500ms"},
    }
    (server,) = pod_of(workload("v1", children(BOTH, spec("v1", runtime=runtime))))["containers"]
    told = environment(server)
    assert {name: told[name] for name in told if told[name] is not None} == ENVIRONMENT | {
        "MOORING_WORKERS": "2",
        "MOORING_DEADLINE_MS": "1500",
        "MOORING_BATCH_MAX_ROWS": "64",
        "MOORING_BATCH_MAX_WAIT_MS": "0",
        "MOORING_LIMIT_BODY_BYTES": "65536",
        "MOORING_LIMIT_HEADER_SECONDS": "0.5",
    }


def test_terminating_pod_has_time_for_its_longest_request() -> None:
    usual = pod_of(workload("v1", children(BOTH)))
    wire = spec("v1", runtime={"deadline": "2m"})
    slow = pod_of(workload("v1", children(BOTH, wire)))
    assert usual["terminationGracePeriodSeconds"] == 45
    assert slow["terminationGracePeriodSeconds"] == 5 + 121 + 20
    told = environment(slow["containers"][0])
    assert told["MOORING_LIMIT_DRAIN_IN_FLIGHT_SECONDS"] == "121"


@pytest.mark.parametrize(
    ("runtime", "problem"),
    [
        ({"deadline": "11m"}, "spec.runtime.deadline is 11m: set at most 10m, or leave it out"),
        ({"deadline": "0s"}, "spec.runtime.deadline is 0s: set more than 0s, or leave it out"),
        (
            {"batching": {"maxWait": "2s"}},
            "spec.runtime.batching.maxWait is 2s: set at most 1s, or leave it out",
        ),
        (
            {"limits": {"idleTimeout": "2d"}},
            "spec.runtime.limits.idleTimeout is 2d: set at most 24h, or leave it out",
        ),
    ],
)
def test_duration_that_the_server_would_refuse_is_told_and_kept_from_it(
    runtime: dict[str, Any], problem: str
) -> None:
    parsed = Runtime.model_validate(runtime)
    assert runtime_problem(parsed) == problem
    assert runtime_environment(parsed) == {}
    assert runtime_problem(Runtime()) is None


def test_fetch_gets_the_package_with_the_secret_of_its_version() -> None:
    one = stable("v1").model_copy(update={"secret_name": "mooring-models"})
    (fetch,) = pod_of(workload("v1", children(status(stable=one))))["initContainers"]
    assert fetch["command"] == ["mooring", "fetch"]
    assert fetch["args"][:4] == ["--uri", one.uri, "--digest", one.digest]
    assert fetch["envFrom"] == [{"secretRef": {"name": "mooring-models"}}]


def test_claim_is_mounted_read_only_for_fetching_alone_when_the_package_is_on_a_volume() -> None:
    one = stable("v1", uri="pvc://models/flight-delay/v1")
    pod = pod_of(workload("v1", children(status(stable=one))))
    (volume,) = [v for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    (mount,) = [m for m in pod["initContainers"][0]["volumeMounts"] if m["name"] == "package"]
    assert mount == {"name": "package", "mountPath": "/mnt/pvc/models", "readOnly": True}
    assert "package" not in {m["name"] for m in pod["containers"][0]["volumeMounts"]}


@pytest.mark.parametrize(
    ("uri", "claim"),
    [("pvc://models/a/b", "models"), ("pvc://models", "models"), ("s3://b/a", None)],
)
def test_claim_is_the_host_of_a_pvc_uri(uri: str, claim: str | None) -> None:
    assert claim_of(uri) == claim


def test_template_and_selector_stay_when_a_revision_changes_its_role() -> None:
    starting = children(status(candidate=candidate("v2", "Initializing")))
    analysed = children(BOTH)
    promoted = children(status(stable=stable("v2")))
    retired = RetiredRevision.model_validate(reference_fields(ref("v2")) | {"keep_until": EPOCH})
    former = children(status(stable=stable("v1"), retired=retired))
    specs = [workload("v2", made)["spec"] for made in (starting, analysed, promoted, former)]
    assert all(one["template"] == specs[0]["template"] for one in specs)
    assert all(one["selector"] == specs[0]["selector"] for one in specs)


def test_stable_has_the_pods_of_the_spec_and_the_candidate_enough_for_its_weight() -> None:
    steps = [{"shadow": 100}, {"weight": 5}, {"weight": 30}]
    wire = spec("v2", replicas=10, rollout={"steps": steps})

    def replicas(made: dict[str, Manifest], version: str) -> int:
        return workload(version, made)["spec"]["replicas"]

    made = children(BOTH, wire)
    assert (replicas(made, "v1"), replicas(made, "v2")) == (10, 3)
    promoting = status(stable=stable("v1"), candidate=candidate("v2", "Promoting"))
    assert replicas(children(promoting, wire), "v2") == 10
    one = spec("v2", replicas=1, rollout={"steps": [{"shadow": 10}]})
    assert replicas(children(BOTH, one), "v2") == 1


def test_services_select_the_stable_revision_and_the_candidate() -> None:
    made = children(BOTH)
    main, other = made["Service delays"], made["Service delays-candidate"]
    assert main["spec"]["selector"]["mooring.dev/revision"] == ref("v1").revision
    ports = {port["name"]: (port["port"], port["targetPort"]) for port in main["spec"]["ports"]}
    assert ports == {"http": (80, "http"), "grpc": (9000, 9000), "forward": (8082, "forward")}
    protocols = [port.get("appProtocol") for port in main["spec"]["ports"]]
    assert protocols == [None, "kubernetes.io/h2c", None]
    assert other["spec"]["selector"]["mooring.dev/revision"] == ref("v2").revision
    assert [port["port"] for port in other["spec"]["ports"]] == [8082]
    alone = children(status(stable=stable("v1")))["Service delays-candidate"]
    assert alone["spec"]["selector"]["mooring.dev/revision"] == "none", "has no endpoints"


def test_forward_port_is_open_to_the_deployments_own_pods_alone() -> None:
    policy = children(BOTH)["NetworkPolicy delays"]["spec"]
    peers = {port["port"]: rule["from"] for rule in policy["ingress"] for port in rule["ports"]}
    assert peers[8080] == peers[9000] == [{"namespaceSelector": {}}]
    assert peers[8082] == [{"podSelector": {"matchLabels": {"mooring.dev/deployment": "delays"}}}]
    (operator,) = peers[8081]
    assert operator["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "mooring"
    }


def test_memory_is_on_the_stable_deployment_and_never_on_its_pods() -> None:
    made = children(BOTH)
    assert "mooring.dev/memory" in workload("v1", made)["metadata"]["annotations"]
    assert set(workload("v2", made)["metadata"]["annotations"]) == {"mooring.dev/pod-settings"}
    assert "annotations" not in workload("v1", made)["spec"]["template"]["metadata"]


def test_sync_keys_are_a_list_that_pods_mount() -> None:
    made = children(BOTH)
    keys = made["ConfigMap delays-sync-keys"]["data"]
    assert keys == {"keys.json": '["a2V5LW9uZQ=="]'}
    volumes = pod_of(workload("v1", made))["volumes"]
    assert {"name": "sync-keys", "configMap": {"name": "delays-sync-keys"}} in volumes


def test_foreign_objects_are_left_alone() -> None:
    made = children(BOTH, foreign=("Service delays", "ConfigMap delays-sync-keys"))
    assert "Service delays" not in made
    assert "ConfigMap delays-sync-keys" not in made
    assert "Service delays-candidate" in made


def gone(observation: DeploymentObservation, now: datetime = EPOCH) -> list[str]:
    """Deployments that are to go, by name."""
    known = observation.resource.status
    return [ref.name for ref in obsolete(observation, known, CONFIG, now)]


def test_obsolete_deployments_are_those_without_a_role() -> None:
    third = [f"delays-{ref('v3').revision}"]
    assert gone(look(BOTH, pods("v1"), pods("v2"), pods("v3"))) == third


def test_none_goes_while_the_first_revision_starts_beside_one_that_may_serve() -> None:
    first = status(candidate=candidate("v2", "Initializing"))
    assert gone(look(first, pods("v1"), pods("v2", ready=0), pods("v3", ready=0))) == []
    older = [f"delays-{ref(version).revision}" for version in ("v1", "v3")]
    away = look(first, pods("v1", ready=0), pods("v2", ready=0), pods("v3", ready=0))
    assert sorted(gone(away)) == sorted(older)


@pytest.mark.parametrize(
    ("weight", "shadow", "seconds", "stays"),
    [(5, 0, 59, True), (0, 5, 59, True), (0, 0, 59, False), (5, 0, 60, False)],
    ids=["gets requests", "gets copies", "gets nothing", "what pods were told has lapsed"],
)
def test_deployment_without_a_role_stays_while_a_pod_forwards_to_it_after_all_was_lost(
    weight: int, shadow: int, seconds: int, *, stays: bool
) -> None:
    third = Revision(ref("v3").revision)
    told = Route(RouteRole.STABLE, "p", third, weight, shadow)
    serving = status(stable=stable("v1"), desired=ref("v1"))
    heard = telemetry(EPOCH, routes={Revision(ref("v1").revision): (None, told)})
    observation = look(serving, pods("v1"), pods("v3"), telemetry=heard)
    now = EPOCH + timedelta(seconds=seconds)
    assert (gone(observation, now) == []) is stays
    assert (decide(observation, CONFIG, now).requeue_after == timedelta(seconds=1)) is stays
    served = serving.model_copy(update={"stable": stable("v1", reason="Promoted")})
    known = look(served, pods("v1"), pods("v3"), telemetry=heard)
    assert gone(known, now), "what was withdrawn by the clock was withdrawn"
