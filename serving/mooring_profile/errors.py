"""What the statistics kernel refuses, and nothing else.

Every error names the document and the field, and says what to do about it.
"""


class DocumentInvalid(ValueError):
    """A document of the kernel cannot be read as written."""


class ProfileInvalid(DocumentInvalid):
    """A reference profile, or the table that it is to be built from, is unusable."""


class CountsInvalid(DocumentInvalid):
    """Counts or a detector's state do not fit the profile they are used with."""
