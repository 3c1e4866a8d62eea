"""What status remembers of the verbs that people say by annotation, and of the approval gate."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from mooring_operator.api.base import ApiModel, RevisionText, Sentence

TOKEN_LIMIT = 128
"""Characters of an annotation's value that are read."""
TokenText = Annotated[str, Field(max_length=TOKEN_LIMIT)]


class VerbOutcome(StrEnum):
    """What became of a token."""

    ACCEPTED = "Accepted"
    IGNORED = "Ignored"


class Handled(ApiModel):
    """The last token of each verb that was looked at: acted upon, or ignored with an Event."""

    promote: TokenText = ""
    abort: TokenText = ""
    retry: TokenText = ""
    rollback_to: TokenText = ""
    approve: TokenText = ""


class LastVerb(ApiModel):
    """The token that was looked at last, and what became of it."""

    verb: Annotated[str, Field(max_length=64)]
    token: TokenText
    outcome: VerbOutcome
    at: datetime
    message: Sentence


class Approval(ApiModel):
    """The word that lets one rollout of a revision begin: what was said and when, not by whom."""

    revision: RevisionText
    token: TokenText
    at: datetime
