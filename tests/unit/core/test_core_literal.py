"""Texts of tenants reach containers as they are: the kubelet finds no variable to put in."""

import json

from hypothesis import given
from hypothesis import strategies as st

from mooring_operator.core.manifests.children import children_of
from mooring_operator.core.manifests.job import (
    TrainingTask,
    VerificationTask,
    training_job,
    verification_job,
)
from mooring_operator.core.manifests.literal import literal
from tests.builders.kubelet import HOSTILE, SECRET, expand, expands
from tests.builders.observed import candidate, look, stable, status
from tests.builders.registry import registry_model
from tests.builders.resources import CONFIG, EPOCH, digest_of, spec
from tests.builders.retrain import BY_HAND, policy

VARIABLES = {SECRET: "the secret"}


def test_kubelets_rule_replaces_variables_and_nothing_else() -> None:
    assert expand(f"a/$({SECRET})/b", VARIABLES) == "a/the secret/b"
    assert expand(f"$$({SECRET}) $(ABSENT) $ $x $(", VARIABLES) == f"$({SECRET}) $(ABSENT) $ $x $("


@given(st.text(alphabet=f"$()x{SECRET}", max_size=40))
def test_literal_text_arrives_as_it_was(text: str) -> None:
    assert expand(literal(text), VARIABLES | {"": "empty", "x": "x"}) == text


def test_serving_pods_replace_nothing_in_addresses_of_tenants() -> None:
    log = {
        "uri": HOSTILE,
        "secretName": "mooring-s3",
        "events": {"url": f"http://sink/$({SECRET})"},
        "fields": {"include": [f"$({SECRET})"]},
    }
    known = status(stable=stable("v1", uri=HOSTILE), candidate=candidate("v2", uri=HOSTILE))
    observation = look(known, wire_spec=spec("v1", predictionLog=log))
    pods = [
        child["spec"]["template"]["spec"]
        for child in children_of(observation, known, CONFIG, EPOCH)
        if child["kind"] == "Deployment"
    ]
    assert len(pods) == 2
    assert [expands(pod) for pod in pods] == [[], []]
    (fetch,) = pods[0]["initContainers"]
    assert [expand(word, VARIABLES) for word in fetch["args"]][1] == HOSTILE


def test_jobs_replace_nothing_in_addresses_of_tenants() -> None:
    task = VerificationTask("job", "v1", digest_of("v1"), HOSTILE, secret_name="mooring-s3")  # noqa: S106 a name
    settings = {"output": {"uri": HOSTILE}}
    training = TrainingTask(job="run-1", model="m", settings=settings, secrets=("mooring-s3",))
    for job in (
        verification_job(registry_model("v1"), task, CONFIG),
        training_job(policy(BY_HAND), training, CONFIG),
    ):
        assert expands(job["spec"]["template"]["spec"]) == []
    container = training_job(policy(BY_HAND), training, CONFIG)["spec"]["template"]["spec"]
    (variable,) = container["containers"][0]["env"]
    assert json.loads(expand(variable["value"], VARIABLES)) == settings
