"""The operator with a bug: it crashes on every Model named `poison`. A test runs it."""

from datetime import datetime

from mooring_operator.__main__ import main
from mooring_operator.core.decision import Manifest
from mooring_operator.reconcile.deciders import MakeDeciders, deciders
from mooring_operator.reconcile.loop import Decided


def _poisoned(make: MakeDeciders) -> MakeDeciders:
    def build(cache, config, telemetry):
        table = dict(make(cache, config, telemetry))
        healthy = table["Model"]

        def decide(manifest: Manifest, foreign: tuple[str, ...], now: datetime) -> Decided:
            if manifest["metadata"]["name"] == "poison":
                raise ZeroDivisionError("a bug that one object brings out")
            return healthy(manifest, foreign, now)

        return table | {"Model": decide}

    return build


if __name__ == "__main__":
    main(_poisoned(deciders))
