"""Why a replay is refused."""


class ReplayRefused(Exception):
    """A table or an option does not serve. `message` names it, `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.message = message
        self.remedy = remedy
