"""The scale benchmark's own parts: what it hands to the yardstick, and how it counts."""

import json
from pathlib import Path

from tests.bench.operator_phases import spread
from tests.bench.operator_plane import Audit, Plane, by_verb, writes_of
from tests.bench.operator_population import Place, drifting, places, yardstick_templates


def test_template_of_the_yardstick_names_nobody_in_particular() -> None:
    templates = yardstick_templates()
    texts = [templates["status"], *(child["manifest"] for child in templates["children"])]
    place = Place(0)
    for text in texts:
        assert place.name not in text
        assert place.namespace not in text
        assert place.model not in text
        assert "deployment-uid" not in text
    assert json.loads(templates["status"])["stable"]["revision"] == "$(REVISION)"


def test_yardstick_makes_every_kind_of_child_that_a_serving_deployment_has() -> None:
    kinds = [child["kind"] for child in yardstick_templates()["children"]]
    assert sorted(kinds) == [
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "Service",
        "ServiceAccount",
    ]


def test_requests_are_counted_by_user_verb_and_resource_without_leases(tmp_path: Path) -> None:
    def line(user: str, verb: str, resource: str, sub: str | None = None) -> str:
        place = {"resource": resource} | ({"subresource": sub} if sub else {})
        event = {"user": {"username": user}, "verb": verb, "objectRef": place, "requestURI": "/"}
        return json.dumps(event) + "\n"

    plane = Plane(tmp_path, "https://127.0.0.1:1")
    audit = Audit(plane)
    told = line("mooring", "patch", "services") + line("mooring", "update", "leases")
    plane.audit_log.write_text(told + line("admin", "create", "services") + '{"half')
    assert audit.requests("mooring") == {"patch services": 1}
    plane.audit_log.write_text(told + line("admin", "create", "services"))
    with plane.audit_log.open("a") as log:
        log.write(line("mooring", "patch", "models", "status") + line("mooring", "list", "pods"))
    seen = audit.requests("mooring")
    assert seen == {"patch models/status": 1, "list pods": 1}
    assert by_verb(seen) == {"list": 1, "patch": 1}
    assert writes_of(seen) == 1


def test_share_of_deployments_that_drifts_is_spread_over_all() -> None:
    chosen = [place.number for place in drifting(places(100), 0.05)]
    assert chosen == [0, 20, 40, 60, 80]


def test_spread_of_nothing_is_absent() -> None:
    assert spread([]) is None
    assert spread([0.5]) == {"n": 1, "p50": 0.5, "p95": 0.5, "p99": 0.5, "max": 0.5}
