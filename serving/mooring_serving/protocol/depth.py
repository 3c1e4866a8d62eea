"""How deeply a JSON text nests, found at C speed before it is parsed."""

import re

_BRACKETS = b"[]{}"
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def exceeds_depth(text: bytes, limit: int) -> bool:
    """Whether arrays and objects nest more than `limit` deep.

    Malformed text may get either answer; the parser refuses it anyway.
    """
    if text.count(b"[") + text.count(b"{") <= limit:
        return False
    brackets = text.translate(None, _NOT_BRACKETS)
    if not _survives(brackets, limit):
        return False
    # Brackets inside strings may have hidden the pairs: drop the strings and look again.
    return _survives(_STRING.sub(b"", text).translate(None, _NOT_BRACKETS), limit)


def _survives(brackets: bytes, rounds: int) -> bool:
    """Whether anything is left after peeling the innermost level `rounds` times."""
    for _ in range(rounds):
        peeled = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not peeled:
            return False
        if len(peeled) == len(brackets):
            break
        brackets = peeled
    return bool(brackets)
