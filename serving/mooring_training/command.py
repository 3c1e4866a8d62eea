"""`mooring train`: the environment in, an exit code and a termination message out."""

import logging
import os
import sys
import tempfile
from pathlib import Path

from mooring_model.errors import PackageRefused, StoreUnavailable
from mooring_model.termination import ExitCode, write_termination
from mooring_training.errors import Refused
from mooring_training.run import train
from mooring_training.settings import VARIABLE, parse_settings


def run() -> int:
    """Runs the Job that MOORING_TRAINING describes.

    Returns:
        0 with a verdict, 10 when refused, 11 when a store did not answer.
    """
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        settings = parse_settings(os.environ.get(VARIABLE))
        with tempfile.TemporaryDirectory(prefix="mooring-train-") as scratch:
            result = train(settings, Path(scratch))
    except (Refused, PackageRefused) as error:
        return _ended(ExitCode.REFUSED, "Refused", error)
    except StoreUnavailable as error:
        return _ended(ExitCode.UNAVAILABLE, "Unavailable", error)
    write_termination(result, None)
    sys.stdout.write(f"{result['verdict']}: {result['message']}\n")
    return 0


def _ended(code: ExitCode, verdict: str, error: Refused | PackageRefused | StoreUnavailable) -> int:
    document = {
        "verdict": verdict,
        "reason": error.reason.value,
        "message": error.message,
        "remedy": error.remedy,
    }
    write_termination(document, None)
    sys.stderr.write(f"mooring: {error.reason}: {error.message}\n  remedy: {error.remedy}\n")
    return code
