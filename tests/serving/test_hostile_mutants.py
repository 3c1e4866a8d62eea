"""Thousands of broken model files: each is loaded or refused by name, and no process is harmed."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from tests.serving.packaged_models import packaged
from tests.serving.running_server import ROOT

NAMED = {
    *("loaded", "PredictionFailed", "FormatMismatch", "GraphRefused", "LoadFailed"),
    *("PickleRefused", "SchemaInvalid"),
}


@pytest.mark.parametrize(("stored", "mutants"), [("onnx", 2000), ("skops", 200)])
def test_mutants_of_a_model_file_are_loaded_or_refused_by_name(
    stored: Literal["onnx", "skops"], mutants: int, tmp_path: Path
) -> None:
    verdicts: Counter[str] = Counter()
    signals = begin = 0
    while begin < mutants:
        lines, code = load_mutants(packaged("regression", stored), tmp_path, begin, mutants)
        verdicts.update(verdict for _, verdict in lines)
        begin += len(lines)
        if code < 0:  # the mutant behind the last line ended the process that tried it
            signals, begin = signals + 1, begin + 1
        else:
            assert code == 0
    assert set(verdicts) <= NAMED
    assert signals == 0
    assert sum(verdicts.values()) == mutants
    assert mutants - verdicts["loaded"] > mutants // 10


def load_mutants(
    package: Path, folder: Path, begin: int, end: int
) -> tuple[list[tuple[int, str]], int]:
    """The verdicts of the mutants that were tried, and how the process ended."""
    name = "model.onnx" if (package / "model.onnx").exists() else "model.skops"
    process = subprocess.run(
        [
            *(sys.executable, "-m", "tests.serving.mutant_loader"),
            *(str(package), str(folder), name, str(begin), str(end)),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,  # onnxruntime writes about some of them
        check=False,
    )
    lines = (folder / "verdicts").read_text().splitlines()
    return [json.loads(line) for line in lines], process.returncode
