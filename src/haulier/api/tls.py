"""TLS below the HTTP protocol: a connection counts, and has a deadline, from the moment it is accepted.

uvicorn's own way makes the protocol known to the server only when the handshake is done: clients that never finish one would be
neither counted nor ended for a minute. Here connections are accepted, counted, and only then secured.
"""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any, Final, cast

import uvicorn

from haulier.api.http import HaulierHttpProtocol

ACCEPT_AGAIN_SECONDS: Final = 0.5
"""After an accept that failed, as it does when the process has no descriptor left."""
FAREWELL_SECONDS: Final = 30.0
"""So long a connection that we end stays for the client to take the rest of its answer, and to end TLS itself."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and later. Raises OSError or ValueError where the two cannot be used together.

    An empty password keeps OpenSSL from asking for one on the terminal.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, password="")
    context.set_alpn_protocols(["http/1.1"])
    return context


class SecuringServer(uvicorn.Server):
    """uvicorn's server, over TLS where it is given a context. The configuration's `http` is a `HaulierHttpProtocol`."""

    def __init__(self, config: uvicorn.Config, context: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._context = context
        self._accepting: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As above it; over TLS it accepts from the sockets itself."""
        if self._context is None:
            await super().startup(sockets)
            return
        await super().startup(sockets=[])
        for listener in sockets or []:
            listener.setblocking(False)
            self._accepting.append(asyncio.get_running_loop().create_task(self._accept(listener, self._context)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As above it."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await super().shutdown(sockets)

    async def _accept(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError:  # out of descriptors, or gone before it was accepted
                await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
                continue
            http: HaulierHttpProtocol = self.config.http_protocol_class(
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
            )  # type: ignore[assignment, call-arg]
            _Handshake(http, connection, str(address[0]), context)


class _Handshake:
    """A connection until it is secured: stands among the server's connections, and ends with its handshake or its deadline."""

    def __init__(self, http: HaulierHttpProtocol, connection: socket.socket, peer: str, context: ssl.SSLContext) -> None:
        self._http = http
        self._peer = peer
        self._known = cast("set[Any]", http.connections)
        self._known.add(self)
        http.connected[peer] += 1
        http.secured = self._forget
        self._task: asyncio.Task[None] | None = None
        if http.full(peer):  # without TLS there is no way to say so
            self._forget()
            connection.close()
        else:
            self._task = http.loop.create_task(self._secure(connection, context))

    async def _secure(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        seconds = self._http.head_seconds
        with contextlib.suppress(OSError, asyncio.CancelledError):  # nothing was asked, so nothing is told
            await self._http.loop.connect_accepted_socket(
                lambda: self._http, connection, ssl=context, ssl_handshake_timeout=seconds, ssl_shutdown_timeout=FAREWELL_SECONDS
            )
        self._forget()

    def _forget(self) -> None:
        """From now on it is counted by the HTTP protocol, or no more."""
        if self in self._known:
            self._known.remove(self)
            self._http.uncount(self._peer)

    def shutdown(self) -> None:
        """The server ends: it calls this of every connection."""
        if self._task is not None:
            self._task.cancel()
