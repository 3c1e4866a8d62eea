"""Loads mutants of a model file, one after the other: `python -m tests.serving.mutant_loader …`.

Writes one line for each to FOLDER/verdicts: its number, and `loaded` or the reason of its refusal.
A process of its own, since a library that a mutant crashes takes the process with it.
"""

import json
import resource
import shutil
import sys
from pathlib import Path

import numpy as np

from mooring_model.errors import PackageRefused
from mooring_model.load import load_package
from mooring_model.prediction import PredictionFailed
from mooring_model.samples import read_samples
from tests.builders.hostile_payloads import relist

MEMORY_BYTES = 4 << 30


def mutant(original: bytes, number: int) -> bytes:
    """The file with one to four bytes changed, or cut, or with bytes put in."""
    generator = np.random.default_rng([number, len(original)])
    data = bytearray(original)
    for place in generator.integers(0, len(data), size=int(generator.integers(1, 5))):
        data[place] = int(generator.integers(0, 256))
    place = int(generator.integers(0, len(data)))
    match int(generator.integers(0, 8)):
        case 0:
            del data[place:]
        case 1:
            data[place:place] = generator.bytes(8)
        case 2:
            del data[place : place + 8]
        case _:
            pass
    return bytes(data)


def main(arguments: list[str]) -> None:
    """Arguments: the package, a working folder, the model file's name, first and last number."""
    package, folder, name = Path(arguments[0]), Path(arguments[1]), arguments[2]
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    working = folder / "working"
    shutil.rmtree(working, ignore_errors=True)
    shutil.copytree(package, working)
    original = (package / name).read_bytes()
    with (folder / "verdicts").open("w") as sink:
        for number in range(int(arguments[3]), int(arguments[4])):
            (working / name).write_bytes(mutant(original, number))
            relist(working)
            print(json.dumps([number, verdict(working)]), file=sink, flush=True)


def verdict(package: Path) -> str:
    """What became of a mutant."""
    try:
        loaded = load_package(package)
        loaded.predict(read_samples(package, loaded.schema).inputs)
    except PackageRefused as refused:
        return refused.reason.value
    except PredictionFailed:
        return "PredictionFailed"
    return "loaded"


if __name__ == "__main__":
    main(sys.argv[1:])
