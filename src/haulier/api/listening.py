"""The sockets that the server listens on, opened before anything else runs: an address in use must not cost a started job."""

import socket
from typing import Final

from haulier.core.errors import SettingsError

BACKLOG: Final = 2048
TAKING_MS: Final = 30_000
"""A client that takes nothing from the kernel for so long is gone: `pacing` sees only what the kernel does not hold."""


def listen(host: str, port: int) -> list[socket.socket]:
    """A listening socket for every address that the host has (`localhost` may have two), all on one port; 0 = any free one.

    Raises SettingsError naming `server.listen`, and has then closed what it opened.
    """
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            opened.append(_listening(family, (address[0], port, *address[2:])))
            port = opened[0].getsockname()[1]
    except OSError as error:
        for one in opened:
            one.close()
        raise SettingsError("server.listen", f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    return opened


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TAKING_MS)  # connections inherit it
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 has a socket of its own
        listener.bind(address)
        listener.listen(BACKLOG)  # two sockets can be bound to one port; only one of them can listen
    except OSError:
        listener.close()
        raise
    return listener
