"""A tenant with rights on our three kinds in one namespace reaches nothing else through us.

All attempts are made on one stage; then each is judged by the objects that came of it. The table
is written to build/tenant-attempts.md. What a pod does with an address (metadata services, other
schemes) is the server's matter: tests/serving/test_storage_*.py and test_payload_events.py.
"""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.operator_process import until
from tests.cluster.tenant_attempts import ROUTER, Attempt, attempts
from tests.cluster.tenant_gateways import gateway_attempts
from tests.cluster.tenant_neighbours import IMAGE, OURS
from tests.cluster.tenant_reach import reached
from tests.cluster.tenant_stage import Identity, Stage, open_stage
from tests.cluster.traefik import gateway_api
from tests.cluster_tools.cluster import Cluster

ROOT = Path(__file__).parents[2]
ATTEMPTS = [*attempts(), *gateway_attempts()]
pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Aftermath:
    """What there was before and after all attempts."""

    stage: Stage
    owned: dict[tuple[str, str], list[dict[str, Any]]]
    before: dict[Identity, str]
    after: dict[Identity, str]

    def children_of(self, attempt: Attempt) -> list[tuple[str, dict[str, Any]]]:
        """The objects that came of an attempt's documents, with their owners' names."""
        owners = {(step["kind"], step["metadata"]["name"]) for step in attempt.steps}
        return [(owner[1], item) for owner in sorted(owners) for item in self.owned.get(owner, ())]

    def reached_by(self, attempt: Attempt) -> list[str]:
        """What an attempt reached."""
        return [
            what
            for owner, item in self.children_of(attempt)
            for what in (
                *reached(item, owner, IMAGE, self.stage.tenant),
                *_borrowed(item, attempt.person),
            )
        ]


@pytest.fixture(scope="module")
def aftermath(
    cluster: Cluster, definitions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Aftermath]:
    """All attempts, made one after the other."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")
    folder = tmp_path_factory.mktemp("tenant")
    with gateway_api(cluster, definitions), open_stage(cluster, folder) as stage:
        before = stage.others()
        for attempt in ATTEMPTS:
            stage.make(attempt)
        stage.settle()
        yield Aftermath(stage, stage.owned(), before, stage.others())


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt.what for attempt in ATTEMPTS])
def test_attempt_reaches_nothing(aftermath: Aftermath, attempt: Attempt) -> None:
    assert aftermath.reached_by(attempt) == []


def test_objects_of_others_are_as_they_were(aftermath: Aftermath) -> None:
    changed = {
        name
        for name in aftermath.before.keys() | aftermath.after.keys()
        if aftermath.before.get(name) != aftermath.after.get(name)
    }
    assert changed == set()


def test_attempts_are_many_and_some_get_as_far_as_pods(aftermath: Aftermath) -> None:
    text = _table(aftermath)
    path = ROOT / "build" / "tenant-attempts.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    print(text)
    assert len(ATTEMPTS) >= 60
    assert len({attempt.what for attempt in ATTEMPTS}) == len(ATTEMPTS)
    kinds = {item["kind"] for attempt in ATTEMPTS for _, item in aftermath.children_of(attempt)}
    assert kinds >= {"Deployment", "Job", "Service", "ServiceAccount", "ConfigMap"}
    swapped = next(one for one in ATTEMPTS if one.what == "address changed after the verdict")
    assert any(item["kind"] == "Deployment" for _, item in aftermath.children_of(swapped))
    routers = [one for one in ATTEMPTS if one.person == ROUTER]
    made = [item for one in routers for _, item in aftermath.children_of(one)]
    assert [item for item in made if item["kind"] == "HTTPRoute"], "nobody got any route"
    owners = {kind for kind, _ in aftermath.owned}
    assert "RetrainPolicy" in owners, "no training Job came of any policy"


def test_objects_of_others_outlive_the_tenants_resources(aftermath: Aftermath) -> None:
    stage = aftermath.stage
    words = ("delete", OURS, "--all", "-n", stage.tenant, "--wait=false", "--as=tenant")
    stage.cluster.kubectl(*words)
    stage.free()
    until(lambda: not stage.owned(), 60)
    left = stage.others()
    assert {name for name in aftermath.before if left.get(name) != aftermath.before[name]} == set()


def _borrowed(item: dict[str, Any], person: str) -> list[str]:
    """A route that its maker had no right to make."""
    return ["an HTTPRoute"] if item["kind"] == "HTTPRoute" and person != ROUTER else []


def _table(aftermath: Aftermath) -> str:
    lines = ["| attempt | aim | what came of it | reached |", "|---|---|---|---|"]
    for attempt in ATTEMPTS:
        kinds = sorted({item["kind"] for _, item in aftermath.children_of(attempt)})
        said = aftermath.stage.said[attempt.what][-1].replace("|", "/").replace("\n", " ")
        came = ", ".join(kinds) or said[:100]
        reach = "; ".join(aftermath.reached_by(attempt)) or "nothing"
        what = attempt.what.replace("|", "/").replace("\n", " ")
        lines.append(f"| {what} | {attempt.aim} | {came} | {reach} |")
    succeeded = sum(bool(aftermath.reached_by(attempt)) for attempt in ATTEMPTS)
    return "\n".join([*lines, "", f"{len(ATTEMPTS)} attempts, {succeeded} succeeded", ""])
