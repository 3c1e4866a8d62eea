"""What verification and training Jobs look like: names, confinement, credentials."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mooring_operator.api.retrain import RetrainPolicy
from mooring_operator.core.decision import Manifest
from mooring_operator.core.manifests.job import (
    TrainingTask,
    VerificationTask,
    attempt_name,
    attempt_of,
    training_job,
    verification_job,
    verification_job_name,
)
from tests.builders.registry import registry_model
from tests.builders.resources import CONFIG, NAMESPACE, digest_of

LONGEST_NAME = "m" * 40


CREDENTIALS = "mooring-s3"


def task(uri: str = "s3://models/v1", secret_name: str | None = None) -> VerificationTask:
    return VerificationTask(
        job="flight-delay-verify-1",
        version="v1",
        digest=digest_of("v1"),
        uri=uri,
        secret_name=secret_name,
    )


def policy() -> RetrainPolicy:
    return RetrainPolicy.model_validate(
        {
            "metadata": {"name": "nightly", "namespace": NAMESPACE, "uid": "policy-uid"},
            "spec": {
                "deployment": {"name": "delays"},
                "triggers": [{"name": "by-hand", "manual": {}}],
                "output": {"uri": "s3://models/retrained"},
                "job": {"deadline": "30m"},
            },
        }
    )


BOTH_JOBS = [
    verification_job(registry_model("v1"), task(), CONFIG),
    training_job(policy(), TrainingTask(job="run-1", model="m", settings={}), CONFIG),
]


def containers(job: Manifest) -> list[dict[str, Any]]:
    pod = job["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("job", BOTH_JOBS, ids=["verification", "training"])
def test_job_satisfies_pod_security_restricted_and_has_no_token(job: Manifest) -> None:
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(job):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["image"] == CONFIG.serving_image
        assert "memory" in container["resources"]["limits"]
    for volume in pod["volumes"]:
        assert "sizeLimit" in volume["emptyDir"]


@pytest.mark.parametrize("job", BOTH_JOBS, ids=["verification", "training"])
def test_job_is_never_repeated_by_kubernetes(job: Manifest) -> None:
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert job["metadata"]["ownerReferences"][0]["controller"] is True


def test_verification_fetches_first_and_loads_apart() -> None:
    job = verification_job(registry_model("v1"), task(secret_name=CREDENTIALS), CONFIG)
    fetch, verify = containers(job)
    assert fetch["command"] + fetch["args"] == [
        "mooring",
        "fetch",
        "--uri",
        "s3://models/v1",
        "--digest",
        digest_of("v1"),
        "--out",
        "/var/lib/mooring/model",
    ]
    assert verify["command"] + verify["args"] == ["mooring", "verify", "/var/lib/mooring/model"]
    assert fetch["envFrom"] == [{"secretRef": {"name": "mooring-s3"}}]
    assert "envFrom" not in verify
    assert verify["volumeMounts"][0]["readOnly"] is True


def test_verification_ends_in_time_and_is_removed_later() -> None:
    model = registry_model("v1", verification={"timeout": "90s"})
    spec = verification_job(model, task(), CONFIG)["spec"]
    assert spec["activeDeadlineSeconds"] == 90
    assert spec["ttlSecondsAfterFinished"] == timedelta(hours=1).total_seconds()


def test_claim_is_mounted_read_only_where_the_fetcher_looks() -> None:
    job = verification_job(registry_model("v1"), task("pvc://packages/flight-delay/v1"), CONFIG)
    fetch, verify = containers(job)
    assert {"name": "package", "mountPath": "/mnt/pvc/packages", "readOnly": True} in fetch[
        "volumeMounts"
    ]
    assert [mount["name"] for mount in verify["volumeMounts"]] == ["model", "tmp"]
    assert job["spec"]["template"]["spec"]["volumes"][-1] == {
        "name": "package",
        "persistentVolumeClaim": {"claimName": "packages", "readOnly": True},
    }


def test_training_gets_its_settings_and_each_secret_once() -> None:
    settings = {"run": "r", "data": {"minRows": 5}}
    secrets = ("mooring-s3", None, "mooring-logs", "mooring-s3")
    job = training_job(
        policy(), TrainingTask(job="r", model="m", settings=settings, secrets=secrets), CONFIG
    )
    (train,) = containers(job)
    assert train["command"] == ["mooring", "train"]
    assert json.loads(train["env"][0]["value"]) == settings
    assert train["env"][0]["value"] == '{"data":{"minRows":5},"run":"r"}'
    names = [source["secretRef"]["name"] for source in train["envFrom"]]
    assert names == ["mooring-logs", "mooring-s3"]


def test_training_survives_a_drained_node_and_stays_readable() -> None:
    spec = training_job(policy(), TrainingTask(job="r", model="m", settings={}), CONFIG)["spec"]
    assert spec["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
    assert spec["activeDeadlineSeconds"] == 1800
    assert "ttlSecondsAfterFinished" not in spec


def test_training_mounts_the_claim_of_the_champion() -> None:
    training = TrainingTask(job="r", model="m", settings={}, champion_uri="pvc://packages/v1")
    (train,) = containers(training_job(policy(), training, CONFIG))
    assert train["volumeMounts"][-1]["mountPath"] == "/mnt/pvc/packages"


@pytest.mark.parametrize("attempt", [1, 2, 17])
def test_attempt_is_read_back_from_the_name_it_was_given(attempt: int) -> None:
    assert attempt_of("m-verify-0a1b2c3d", attempt_name("m-verify-0a1b2c3d", attempt)) == attempt


@pytest.mark.parametrize("name", ["base-1", "base-0", "base-02", "base-x", "base", "other-2"])
def test_foreign_names_are_no_attempts(name: str) -> None:
    assert attempt_of("base", name) == (1 if name == "base" else None)


def test_code_is_allowed_to_both_containers_only_where_the_namespace_says_so() -> None:
    for allowed in (False, True):
        pod = verification_job(registry_model("v1"), replace(task(), code_allowed=allowed), CONFIG)
        spec = pod["spec"]["template"]["spec"]
        wanted = [{"name": "MOORING_ALLOW_CODE", "value": "true"}] if allowed else []
        for container in (*spec["initContainers"], *spec["containers"]):
            assert container.get("env", []) == wanted


def test_verification_job_is_named_by_version_digest_and_image() -> None:
    names = {
        verification_job_name(LONGEST_NAME, version, digest_of(package), image)
        for version in ("v1", "v2")
        for package in ("a", "b")
        for image in ("i:1", "i:2")
    }
    assert len(names) == 8
    assert all(len(f"{name}-9999") <= 63 for name in names)
