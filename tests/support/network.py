"""A cable to the database, which tests pinch (nothing flows, nothing closes) or cut."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from sqlalchemy import make_url


class Cable:
    """Forwards a port of this host to the server."""

    def __init__(self, server_url: str) -> None:
        server = make_url(server_url)
        self._host = server.host or str(server.query["host"])
        self._port = server.port or 5432
        self._flows = Event()
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.mend()

    def url(self, database_url: str, password: str = "") -> str:
        """Return *database_url* as it is reached through the cable."""
        url = make_url(database_url).set(host="127.0.0.1", port=self.port, query={})
        return url.set(password=password or None).render_as_string(hide_password=False)

    def pinch(self) -> None:
        """Have nothing flow any more; connections stay open, and new ones come about."""
        self._flows.clear()

    def cut(self) -> None:
        """Close every connection, and refuse new ones."""
        self.pinch()
        for end in (self._listener, *self._ends):
            if end:
                _shut(end)
                end.close()
        self._listener = None
        self._ends.clear()

    def mend(self) -> None:
        """Have everything flow again, over the same port."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            Thread(target=self._accept, args=[self._listener], daemon=True).start()
        self._flows.set()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = self._reach()
                self._ends += (here, there)
                for ends in ((here, there), (there, here)):
                    Thread(target=self._pump, args=ends, daemon=True).start()

    def _reach(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._host}/.s.PGSQL.{self._port}")
        return server

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._flows.wait()
                target.sendall(data)
        _shut(source)
        _shut(target)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cable(server_url: str) -> Iterator[Cable]:
    """Lay a cable, and take it away afterwards."""
    laid = Cable(server_url)
    try:
        yield laid
    finally:
        laid.cut()
