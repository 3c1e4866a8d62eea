"""A model of several classes, served: each choice is counted, and by class how sure it was."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from mooring_profile.document import ReferenceProfile
from tests.serving.running_server import Server, running
from tests.serving.served_packages import multiclass_package, wine_table

REFERENCE_ROWS = 6_000
"""Enough that each class has the rows that a stream of its own asks for."""


def predict(server: Server, values: Any) -> tuple[list[int], Any]:
    """The classes chosen and the probabilities [rows, 3]."""
    tensor = {"name": "input", "datatype": "FP64", "shape": list(values.shape)}
    document = {"inputs": [{**tensor, "data": values.tolist()}]}
    answer = server.post("/v2/models/wine/infer", document)
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    probabilities = np.array(outputs["probability"]["data"]).reshape(-1, 3)
    return outputs["label"]["data"], probabilities


@pytest.mark.parametrize("workers", [1, 2])
def test_chosen_classes_and_their_scores_are_counted_as_the_answers_say(workers: int) -> None:
    rows = wine_table().drop(columns="cultivar").to_numpy()
    arguments = ["--workers", str(workers)] if workers > 1 else []
    chosen: Counter[str] = Counter()
    sureness: defaultdict[str, list[float]] = defaultdict(list)
    with running(multiclass_package(REFERENCE_ROWS), arguments=arguments) as server:
        profile = ReferenceProfile.from_json(
            server.client.get(server.managed("/mooring/v1/profile")).json()
        )
        for start in range(0, len(rows), 20):
            labels, probabilities = predict(server, rows[start : start + 20])
            chosen.update(map(str, labels))
            for label, row in zip(labels, probabilities, strict=True):
                sureness[str(label)].append(row[label])
        counts = server.sync()["counts"]
    assert profile.predicted is not None
    by_class = dict(zip(profile.predicted.categories, counts["@class"]["bins"], strict=False))
    assert by_class == dict(chosen)
    assert set(chosen) == {"0", "1", "2"}
    for name, scores in sureness.items():
        counted = counts[f"@class={name}/@score"]
        assert sum(counted["bins"]) == len(scores) == chosen[name]
