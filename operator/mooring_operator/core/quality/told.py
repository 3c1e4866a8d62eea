"""What status tells of quality, and when it moves.

Labels and scores come with every request. A number that is told stays until the new one is outside
of what chance explains, or rests on half again as many rows: status is written O(log rows) times.
"""

import math

from mooring_operator.api.deployment_status import LabelledQuality, QualityStatus
from mooring_operator.core.observation import LossCounts, TelemetryObservation
from mooring_operator.ids import Revision

NEWS = 1.5
"""A number is replaced when it rests on this many times the rows."""
_ERRORS = 2.0
"""Standard errors within which a new mean is no news."""


def quality_status(
    known: QualityStatus | None, telemetry: TelemetryObservation | None, revision: Revision | None
) -> QualityStatus | None:
    """What to tell of a revision's quality.

    Args:
        known: what was told before.
        telemetry: what the pods say; None: they are silent, so nothing is new.
        revision: the stable one; None: nothing serves.
    """
    if revision is None:
        return None
    if known is None or known.revision != revision:
        known = QualityStatus(revision=revision)
    if telemetry is not None and telemetry.stable == revision:
        labelled = told_loss(known.labelled, telemetry.labelled)
        known = known.model_copy(update={"labelled": labelled})
    shown = known.model_copy(update={"shown": _shown(known)})
    return None if shown == QualityStatus(revision=revision) else shown


def told_loss(known: LabelledQuality | None, counts: LossCounts) -> LabelledQuality | None:
    """The loss to tell.

    Args:
        known: what was told before.
        counts: labelled predictions until now. Fewer than were told of, after a restart of the
            operator, are news only when they say something else.
    """
    if counts.n == 0:
        return known
    mean = counts.loss_sum / counts.n
    variance = max(0.0, counts.loss_squared_sum / counts.n - mean * mean)
    error = math.sqrt(variance / counts.n)
    if (
        known is not None
        and counts.n < NEWS * known.rows
        and abs(mean - known.loss) <= max(_ERRORS * error, 0.0005)
    ):
        return known
    return LabelledQuality(loss=round(mean, 4), rows=counts.n)


def _shown(quality: QualityStatus) -> str:
    labelled = quality.labelled
    return "" if labelled is None else f"{labelled.loss:.3f} (n={labelled.rows})"
