"""Why a training run ends without a verdict, though every store answered.

`Refused` is terminal: the same Job run again would say the same. A store that does not answer
raises `mooring_model.errors.StoreUnavailable`, and the Job may be retried. Only
`mooring_training.command` turns either into an exit code.
"""

from enum import StrEnum


class RefusalReason(StrEnum):
    """Why a run cannot give a verdict, in the operator's vocabulary."""

    SETTINGS_INVALID = "SettingsInvalid"
    """A field of `MOORING_TRAINING` is missing or out of range."""
    NO_LOG = "NoLog"
    """The deployment has no prediction log at the place named."""
    NOT_ENOUGH_ROWS = "NotEnoughRows"
    """Too few mature prediction rows in the window."""
    NOT_ENOUGH_LABELS = "NotEnoughLabels"
    """Enough rows, but too few of them have a label, or only one class has labels."""
    SCHEMA_MISMATCH = "SchemaMismatch"
    """The log's features are not those of the champion's schema."""
    CHAMPION_UNAVAILABLE = "ChampionUnavailable"
    """The champion's package is missing, corrupt or not the one named by its digest."""
    OUTPUT_CONFLICT = "OutputConflict"
    """The run's place already holds other content; nothing was overwritten."""


class Refused(Exception):
    """The run cannot be done, and trying again will not help.

    Attributes:
        reason: The closed vocabulary the operator matches on.
        message: What is wrong, and with which object.
        remedy: What a person should change.
    """

    def __init__(self, reason: RefusalReason, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.remedy = remedy
