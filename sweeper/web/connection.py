"""One connection: how long it may wait for its request, and how many connections there may be."""

import math
import sys
from asyncio import TimerHandle, Transport
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEADER = 16_384
"""Maximum size of a request's header, in bytes."""

HEADER_TIMEOUT = 5.0
"""Seconds in which a header must arrive as a whole, and in which a client must take something."""

MAX_FROM_PEER = 48
MAX_CONNECTIONS = 128
"""Both are more than the requests that are answered at the same time (see bounds.py): so there is
always a connection that only waits, and can be closed to make room."""

_PLAIN = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]


class Connection(H11Protocol):
    """A connection that is closed if its request does not arrive, or others need its room.

    uvicorn alone waits for a first header for ever, and for the rest of one that it has begun to
    read; its `limit_concurrency` counts such connections, and refuses every request because of
    them.
    """

    _deadline: TimerHandle | None = None
    _waits_since = 0.0
    _unsent = math.inf  # bytes that the client had not taken when we last looked
    _refused = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request, and make room if there are too many connections."""
        super().connection_made(transport)
        self._expect()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request; after a refusal, what else arrives is thrown away."""
        if not self._refused:
            super().data_received(data)

    def handle_events(self) -> None:
        """Begin the requests that have arrived; while one is worked on, the connection may wait."""
        super().handle_events()
        if not (self._waits or self.flow.write_paused):
            self._stop()

    def on_response_complete(self) -> None:
        """Start to wait for the next request."""
        self._expect()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Start to wait until the client takes what was sent."""
        super().pause_writing()
        self._expect()

    def resume_writing(self) -> None:
        """Stop waiting, unless for a request."""
        super().resume_writing()
        if not self._waits:
            self._stop()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP request with 400, and a header that is too large with 431."""
        error = sys.exception()  # uvicorn calls this where it has caught one
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self._abort()  # in the middle of an answer there is no other
            return
        if not self._waits:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._refused = True
        status = HTTPStatus(hint)
        text = status.phrase if hint != HTTPStatus.BAD_REQUEST else msg
        for event in (
            h11.Response(status_code=status, reason=status.phrase.encode(), headers=_PLAIN),
            h11.Data(data=text.encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        # A close while data still arrives would reset the connection, and the answer be lost.
        self.transport.write_eof()
        self._expect()

    @property
    def _waits(self) -> bool:
        """Whether no request is worked on."""
        return self.cycle is None or self.cycle.response_complete or self._refused

    def _expect(self) -> None:
        """Give the client its time, from now on."""
        self._stop()
        self._waits_since = self.loop.time()
        self._unsent = math.inf
        self._deadline = self.loop.call_later(HEADER_TIMEOUT, self._check)

    def _check(self) -> None:
        """Close the connection, unless its client is slow but takes what was sent."""
        unsent = self.transport.get_write_buffer_size()
        if 0 < unsent < self._unsent:
            self._unsent = unsent
            self._deadline = self.loop.call_later(HEADER_TIMEOUT, self._check)
        else:
            self._abort()

    def _stop(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _make_room(self) -> None:
        """Close the connection that waits longest, of this peer or of all, if one is too many."""
        every = [each for each in self.connections if isinstance(each, Connection)]
        peer = self.client[0] if self.client else None
        own = [each for each in every if (each.client[0] if each.client else None) == peer]
        crowd = own if len(own) > MAX_FROM_PEER else every
        if len(own) > MAX_FROM_PEER or len(every) > MAX_CONNECTIONS:
            waiting = [each for each in crowd if each._waits and each is not self]  # noqa: SLF001
            min(waiting, key=lambda each: each._waits_since, default=self)._abort()  # noqa: SLF001

    def _abort(self) -> None:
        self._stop()
        self.connections.discard(self)
        self.transport.abort()
