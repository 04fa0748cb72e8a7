"""A TCP proxy in front of the database, whose connections tests delay, freeze or close."""

import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Event, Thread

from sqlalchemy import make_url


class NetworkProxy:
    """Forwards a port on 127.0.0.1 to the database server.

    delay  -- seconds that all data take, each way
    resets -- the share of packets that close their connection instead of passing
    """

    def __init__(self, server_url: str, delay: float = 0.0, resets: float = 0.0) -> None:
        self.delay = delay
        self.resets = resets
        server = make_url(server_url)
        self._host = server.host or str(server.query["host"])
        self._port = server.port or 5432
        self._is_forwarding = Event()
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.restore()

    def url(self, database_url: str, password: str = "") -> str:
        """Return *database_url* with the address of the proxy."""
        url = make_url(database_url).set(host="127.0.0.1", port=self.port, query={})
        return url.set(password=password or None).render_as_string(hide_password=False)

    def freeze(self) -> None:
        """Forward no more data; connections stay open, and new ones are accepted."""
        self._is_forwarding.clear()

    def disconnect(self) -> None:
        """Close all connections, and refuse new ones."""
        self.freeze()
        for end in (self._listener, *self._ends):
            if end:
                _shut(end)
                end.close()
        self._listener = None
        self._ends.clear()

    def restore(self) -> None:
        """Forward data again, and accept connections on the same port."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            Thread(target=self._accept, args=[self._listener], daemon=True).start()
        self._is_forwarding.set()

    def note(self, source: socket.socket, target: socket.socket, data: bytes) -> None:
        """Look at data that pass from one end to the other; others may override it."""

    def connect(self) -> socket.socket:
        """Open a connection to the server."""
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._host}/.s.PGSQL.{self._port}")
        return server

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = self.connect()
                except OSError:  # the server is down: its clients are refused, one by one
                    client.close()
                    continue
                self._ends += (client, server)
                for ends in ((client, server), (server, client)):
                    Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        on_the_way = SimpleQueue[tuple[float, bytes]]()
        Thread(target=self._deliver, args=(on_the_way, target), daemon=True).start()
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.note(source, target, data)
                if self.resets and random.random() < self.resets:  # noqa: S311 -- no secret
                    break
                on_the_way.put((time.monotonic() + self.delay, data))
        on_the_way.put((0.0, b""))
        _shut(source)

    def _deliver(self, on_the_way: SimpleQueue[tuple[float, bytes]], target: socket.socket) -> None:
        with suppress(OSError):
            while (arrival := on_the_way.get())[1]:
                time.sleep(max(0.0, arrival[0] - time.monotonic()))
                self._is_forwarding.wait()
                target.sendall(arrival[1])
        _shut(target)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def network_proxy(server_url: str, delay: float = 0.0) -> Iterator[NetworkProxy]:
    """Start a proxy, and close it afterwards; all data take *delay* seconds each way."""
    proxy = NetworkProxy(server_url, delay)
    try:
        yield proxy
    finally:
        proxy.disconnect()
