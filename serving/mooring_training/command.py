"""The process of a training Job: environment in, exit code and termination message out."""

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mooring_model.errors import StoreUnavailable
from mooring_model.termination import DEFAULT_LOG
from mooring_training import outcome as outcomes
from mooring_training.errors import Refused
from mooring_training.outcome import Outcome
from mooring_training.run import Surroundings, execute
from mooring_training.settings import VARIABLE, parse_settings

_LOG = logging.getLogger(__name__)


def run(environment: Mapping[str, str] | None = None, termination_log: Path = DEFAULT_LOG) -> int:
    """Run the training Job that `MOORING_TRAINING` describes.

    Args:
        environment: None: the process's own.
        termination_log: Written when it exists, as it does in a pod.

    Returns:
        0 with a verdict, 10 refused (do not retry), 11 when a store did not answer (retry).
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    outcome = _outcome(os.environ if environment is None else environment)
    outcomes.report(outcome, termination_log)
    level = logging.INFO if outcome.exit_code == outcomes.EXIT_JUDGED else logging.ERROR
    _LOG.log(level, "%s", outcomes.encode(outcome).decode())
    return outcome.exit_code


def _outcome(environment: Mapping[str, str]) -> Outcome:
    try:
        settings = parse_settings(environment.get(VARIABLE))
        with tempfile.TemporaryDirectory(prefix="mooring-train-") as scratch:
            return execute(settings, Surroundings(_now, time.monotonic, Path(scratch)))
    except Refused as error:
        return outcomes.refused(error)
    except StoreUnavailable as error:
        return outcomes.unavailable(error)


def _now() -> datetime:
    return datetime.fromtimestamp(int(time.time()), UTC)
