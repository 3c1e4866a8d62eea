"""`/openapi.json` describes this very model, and what it says is what the server does."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving.running_server import Server, running
from tests.serving.served_packages import cancer_package, mixed_package, multiclass_package

PACKAGES = {"cancer": cancer_package, "flights": mixed_package, "wine": multiclass_package}


@pytest.fixture(scope="module", params=PACKAGES)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, Server]]:
    with running(PACKAGES[request.param]()) as server:
        yield request.param, server


def document(server: Server) -> dict[str, Any]:
    return server.client.get(server.url("/openapi.json")).json()


def test_document_is_of_this_model_and_its_references_lead_somewhere(
    served: tuple[str, Server],
) -> None:
    name, server = served
    found = document(server)
    assert (found["openapi"], found["info"]["version"]) == ("3.1.0", "v1")
    assert name in found["info"]["title"]

    targets = re.findall(r'"\$ref":"#/([^"]+)"', json.dumps(found, separators=(",", ":")))
    assert targets
    for target in set(targets):
        node = found
        for part in target.split("/"):
            node = node[part]


def test_every_path_that_is_read_answers_with_the_documented_keys(
    served: tuple[str, Server],
) -> None:
    _, server = served
    found = document(server)
    for path, item in found["paths"].items():
        if "get" not in item:
            continue
        answer = server.client.get(server.url(path))
        assert answer.status_code == 200, path
        schema = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        if "$ref" in schema:
            schema = found["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert set(schema.get("required", ())) <= set(answer.json()), path


def test_example_is_answered_on_every_path_that_infers(served: tuple[str, Server]) -> None:
    _, server = served
    for path, item in document(server)["paths"].items():
        if not path.endswith("/infer"):
            continue
        content = item["post"]["requestBody"]["content"]["application/json"]
        answer = server.post(path, content["example"])
        assert answer.status_code == 200, answer.text


def test_every_status_of_a_refusal_is_documented(served: tuple[str, Server]) -> None:
    name, server = served
    infer = document(server)["paths"][f"/v2/models/{name}/infer"]["post"]["responses"]
    assert set(infer) == {
        *("200", "400", "408", "413", "415", "429", "431", "500", "503", "504"),
    }


def test_categories_of_the_schema_are_listed_and_others_answered() -> None:
    with running(mixed_package()) as server:
        inputs = document(server)["components"]["schemas"]["InferRequest"]["properties"]["inputs"]
        (carrier,) = (
            item
            for item in inputs["items"]["anyOf"]
            if item["properties"]["name"]["const"] == "carrier"
        )
        value = carrier["properties"]["data"]["items"]["anyOf"][0]
        assert value["x-mooring-categories"] == ["AA", "B6", "DL", "UA"]
        assert "unseen" in carrier["description"]
        metadata = server.client.get(server.url("/v2/models/flights")).json()["inputs"]
        parameters = {item["name"]: item["parameters"] for item in metadata}
        assert parameters["carrier"] == {
            "nullable": False,
            "categories": 4,
            "other_categories": "answered, and counted as unseen",
        }
        assert parameters["distance"] == {"nullable": True}
