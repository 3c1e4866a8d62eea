"""The operator with a bug: it crashes on every Model named `poison`. A test runs it."""

from collections.abc import Mapping
from datetime import datetime

from mooring_operator.__main__ import main
from mooring_operator.core.decision import Manifest, OperatorConfig
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.deciders import Telemetry, deciders
from mooring_operator.reconcile.loop import Decide, Decided


def _poisoned(cache: Cache, config: OperatorConfig, telemetry: Telemetry) -> Mapping[str, Decide]:
    table = deciders(cache, config, telemetry)

    def decide(manifest: Manifest, foreign: tuple[str, ...], now: datetime) -> Decided:
        if manifest["metadata"]["name"] == "poison":
            raise ZeroDivisionError("a bug that one object brings out")
        return table["Model"](manifest, foreign, now)

    return {**table, "Model": decide}


if __name__ == "__main__":
    main(_poisoned)
