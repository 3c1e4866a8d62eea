"""What makes a log impossible before the first request; the server ends with the sentence."""


class LogInvalid(ValueError):
    """The prediction log cannot be written as it was asked for; the message names the remedy."""


class LogUriInvalid(LogInvalid):
    """A prediction log URI that cannot be written; the message says which are possible."""


class LogFieldsInvalid(LogInvalid):
    """`predictionLog.fields` cannot be done; the message names the field and the remedy."""


class EventsUrlInvalid(LogInvalid):
    """A payload-event URL that cannot be used; the message says what it must be."""
