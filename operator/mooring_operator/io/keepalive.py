"""Socket options by which the kernel finds out that the other end is gone without a word.

A firewall or a node that dies drops packets silently: without these a stream that waits for news
stays open for hours (client-go's HTTP/2 pings serve the same end).
"""

import socket
import sys
from typing import Any

_IDLE_SECONDS, _INTERVAL_SECONDS, _PROBES = 5, 2, 3

SocketOption = tuple[int, int, int]


def keepalive() -> tuple[SocketOption, ...]:
    """Options for `setsockopt`.

    On Linux: after five silent seconds three probes in six, and what was sent must be acknowledged
    in as long. Elsewhere the system's own pace.
    """
    wanted = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform != "linux":
        return (wanted,)
    patience = _IDLE_SECONDS + _INTERVAL_SECONDS * _PROBES
    return (
        wanted,
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_SECONDS),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL_SECONDS),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * patience),
    )


def lively_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for an address as `getaddrinfo` gives it, with these options."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    for option in keepalive():
        made.setsockopt(*option)
    return made
