"""A proxy that counts what passes: statements and round trips, whatever the driver is."""

import socket
from collections import defaultdict
from threading import Lock

from tests.support.network import NetworkProxy

_COMPLETED = ord("C")  # the server's message that ends a statement
_HEADER = 5  # a message's type, and its length without the type


class CountingProxy(NetworkProxy):
    """Counts, from its last `reset` on, on all connections together.

    statements  -- the statements that the server has completed
    round_trips -- how often a client sent after the server had answered
    """

    def __init__(self, server_url: str) -> None:
        self.statements = self.round_trips = 0
        self._servers = set[socket.socket]()
        self._answered = defaultdict[socket.socket, bool](lambda: True)
        self._rest = defaultdict[socket.socket, bytearray](bytearray)
        self._lock = Lock()
        super().__init__(server_url)

    def reset(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self.statements = self.round_trips = 0

    def connect(self) -> socket.socket:
        """Open a connection to the server, and know it as the server's end."""
        server = super().connect()
        self._servers.add(server)
        return server

    def note(self, source: socket.socket, target: socket.socket, data: bytes) -> None:
        """Count what these data begin or end."""
        with self._lock:
            if source in self._servers:
                self._answered[source] = True
                self.statements += self._completed(self._rest[source], data)
            else:
                self.round_trips += self._answered[target]
                self._answered[target] = False

    @staticmethod
    def _completed(rest: bytearray, data: bytes) -> int:
        """Return how many statements end in the messages that *data* complete; keep what is left.

        See https://www.postgresql.org/docs/current/protocol-message-formats.html
        """
        rest += data
        while rest.startswith(b"N") and bytes(rest[1:2]) in {b"", b"N", b"R"}:
            del rest[:1]  # the answer to a request for encryption, which is no message
        begin = completed = 0
        while begin + _HEADER <= len(rest):
            end = begin + 1 + int.from_bytes(rest[begin + 1 : begin + _HEADER])
            if end > len(rest):
                break
            completed += rest[begin] == _COMPLETED
            begin = end
        del rest[:begin]
        return completed
