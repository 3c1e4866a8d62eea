"""What is wrong with rules, in words for their author."""


class RulesInvalid(ValueError):
    """Rules that cannot be used; the message names the rule and what to write instead."""


class ExpressionInvalid(RulesInvalid):
    """An expression that cannot be used, with its place.

    Attributes:
        line: from 1 on.
        column: from 1 on.
    """

    def __init__(self, line: int, column: int, what: str) -> None:
        super().__init__(f"line {line}, column {column}: {what}")
        self.line = line
        self.column = column
