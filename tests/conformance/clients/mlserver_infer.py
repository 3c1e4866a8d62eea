"""`mlserver infer` with its JSONL: one request a line, grouped into micro-batches by the client."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from script import Script, Served, open_script


def lines(served: Served) -> list[dict[str, Any]]:
    """Each row as a request of its own."""
    found: list[dict[str, Any]] = []
    rows = len(next(iter(served.outputs.values()))["data"])
    for row in range(rows):
        if served.matrix is not None:
            values = served.matrix[row]
            shape = [1, len(values)]
            tensors = [{"name": "input", "datatype": "FP64", "shape": shape, "data": values}]
        else:
            tensors = [
                {"name": name, "shape": [1, 1], "datatype": each["datatype"]}
                | {"data": [each["data"][row]]}
                for name, each in served.inputs.items()
            ]
        found.append({"inputs": tensors})
    return found


def infer(script: Script, served: Served, name: str, *options: str) -> list[dict[str, Any]]:
    """Run the command; returns its answers in the order of the requests.

    Raises:
        AssertionError: It failed, or lost a line.
    """
    asked = script.scratch / f"{name}.jsonl"
    answered = script.scratch / f"{name}.out.jsonl"
    sent = lines(served)
    asked.write_text("".join(json.dumps(line) + "\n" for line in sent))
    command = [str(Path(sys.executable).parent / "mlserver"), "infer", "-u", served.host]
    command += ["-m", served.model, "-i", str(asked), "-o", str(answered), "-t", "rest", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-400:]
    answers = [json.loads(line) for line in answered.read_text().splitlines()]
    assert len(answers) == len(sent), f"{len(answers)} answers for {len(sent)} requests"
    wrong = [each for each in answers if "outputs" not in each or not each["outputs"]]
    assert not wrong, str(wrong[0])[:300]
    return sorted(answers, key=_index)


def _index(answer: dict[str, Any]) -> int:
    """The client writes answers as they come and notes which line each belongs to."""
    return int(answer["parameters"]["batch_index"])


def check_answers(served: Served, answers: list[dict[str, Any]]) -> None:
    """All rows together are right."""
    for name in served.outputs:
        found: list[Any] = []
        for answer in answers:
            by_name = {each["name"]: each for each in answer["outputs"]}
            found += np.array(by_name[name]["data"], dtype=object).reshape(-1).tolist()
        served.check_output(name, np.array(found, dtype=object))


def main() -> None:
    """Run the script."""
    script = open_script()
    served, text = script.numeric, script.text
    with script.check("JSON in, JSON out"):
        check_answers(served, infer(script, served, "single", "-s", "1"))
    with script.check("micro-batches"):
        check_answers(served, infer(script, served, "batches", "-s", "2", "-w", "2"))
    with script.check("text JSON"):
        check_answers(text, infer(script, text, "text", "-s", "1"))
    script.report()


if __name__ == "__main__":
    main()
