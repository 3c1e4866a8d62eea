"""The words of an expression, with their places."""

import re
from dataclasses import dataclass
from enum import StrEnum

from mooring_model.rules.errors import ExpressionInvalid

MAX_CHARACTERS = 10_000


class TokenKind(StrEnum):
    """What a word is."""

    NUMBER = "number"
    TEXT = "text"
    NAME = "name"
    QUOTED = "quoted"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A word; `text` is its value: without quotes, escapes resolved."""

    kind: TokenKind
    text: str
    at: int
    """Characters before it."""

    def __str__(self) -> str:
        """As a message shows it."""
        return "the end of the text" if self.kind is TokenKind.END else repr(self.text)


_PATTERN = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<number>(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?)
  | (?P<name>[^\W\d]\w*(?:\.\w+)*)
  | (?P<text>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
  | (?P<quoted>`[^`\n]+`)
  | (?P<symbol>\*\*|<=|>=|==|!=|[-+*/%<>()\[\],])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)")


def tokenize(text: str) -> list[Token]:
    """The words of `text`; the last is END.

    Raises:
        ExpressionInvalid: too long, or a character that starts no word.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionInvalid(1, 1, f"{len(text)} characters, at most {MAX_CHARACTERS}")
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        found = _PATTERN.match(text, at)
        if found is None:
            line, column = place(text, at)
            raise ExpressionInvalid(line, column, _unexpected(text[at]))
        if found.lastgroup != "space":
            tokens.append(_token(str(found.lastgroup), found.group(), at))
        at = found.end()
    tokens.append(Token(TokenKind.END, "", len(text)))
    return tokens


def place(text: str, at: int) -> tuple[int, int]:
    """Line and column, both from 1 on, of a character."""
    before = text[:at]
    return before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1


def _token(group: str, text: str, at: int) -> Token:
    kind = TokenKind(group)
    if kind is TokenKind.TEXT:
        text = _ESCAPE.sub(r"\1", text[1:-1])
    elif kind is TokenKind.QUOTED:
        text = text[1:-1]
    return Token(kind, text, at)


def _unexpected(character: str) -> str:
    hints = {
        "'": "a text that is not closed",
        '"': "a text that is not closed",
        "`": "a quoted name that is not closed",
        "=": "a single =; compare with ==",
        "&": "an &; write and",
        "|": "a |; write or",
        "!": "a !; write not",
        "^": "a ^; a power is written **",
    }
    return "found " + hints.get(character, f"{character!r}, which starts no number, text or name")
