"""A fake WhatsApp provider on 127.0.0.1 that replies in the documented formats of the real ones."""

import json
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qs

TOKEN = "rahasia-sekali-token"  # noqa: S105 -- a token for tests
NUMBER_ID = "106540352242922"


class Behaviour(StrEnum):
    """How the provider answers a request."""

    OK = "accepted"
    BAD_NUMBER = "a number that is not on WhatsApp"
    BAD_REQUEST = "an invalid request"
    BAD_TOKEN = "an invalid token"  # noqa: S105 -- a behaviour
    BUSY = "too many requests"
    BROKEN = "a server error"
    HANG = "accepted, and no reply"
    RESET = "accepted, and a reset within the reply"
    LOST = "accepted, and closed without a reply"
    GARBAGE = "accepted, and an unrelated reply"


ACCEPTED = {Behaviour.OK, Behaviour.HANG, Behaviour.RESET, Behaviour.LOST, Behaviour.GARBAGE}


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """A message that the provider accepted.

    to   -- the recipient's number
    at   -- when it was accepted, in monotonic seconds
    body -- the whole request
    """

    to: str
    at: float
    body: Any


@dataclass(slots=True)
class Provider:
    """The state of the fake provider: what tests set, and the requests that it received.

    kind        -- cloud or fonnte
    behaviour   -- how it answers when *behaviours* is empty
    behaviours  -- how it answers the next requests, one each
    by_number   -- how it answers requests for a number; comes before the others
    latency     -- seconds until it answers
    retry_after -- the header Retry-After of its 429 responses; None for no header
    deliveries  -- the messages that it accepted
    requests    -- the number of requests, accepted or not
    """

    kind: str
    url: str = ""
    behaviour: Behaviour = Behaviour.OK
    behaviours: deque[Behaviour] = field(default_factory=deque)
    by_number: dict[str, Behaviour] = field(default_factory=dict)
    latency: float = 0.0
    retry_after: str | None = "7"
    deliveries: list[AcceptedMessage] = field(default_factory=list)
    requests: int = 0
    lock: Lock = field(default_factory=Lock)
    closed: Event = field(default_factory=Event)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Return the settings, for `open_app`, that lead the app to this provider."""
        own = {"phone_number_id": NUMBER_ID} if self.kind == "cloud" else {}
        defaults = {"provider": self.kind, "base_url": self.url, "token": TOKEN, "timeout": "1s"}
        return {f"whatsapp__{name}": value for name, value in (defaults | own | more).items()}

    def decide(self, to: str, body: Any, headers: Any) -> Behaviour:
        """Return how to answer a request, and record the message if it is accepted."""
        expected = TOKEN if self.kind == "fonnte" else f"Bearer {TOKEN}"
        with self.lock:
            self.requests += 1
            behaviour = self.by_number.get(to) or self._next()
            if headers["Authorization"] != expected:
                behaviour = Behaviour.BAD_TOKEN
            if behaviour in ACCEPTED:
                self.deliveries.append(AcceptedMessage(to, time.monotonic(), body))
            return behaviour

    def _next(self) -> Behaviour:
        return self.behaviours.popleft() if self.behaviours else self.behaviour


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # all threads of a lane connect at the same time

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: killed workers and timed-out calls close their connections."""


@contextmanager
def provider(kind: str) -> Iterator[Provider]:
    """Run a provider on a port of its own."""
    state = Provider(kind)
    server = _Server(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.closed.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(state: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(text) if state.kind == "cloud" else _form(text)
            to = body["to" if state.kind == "cloud" else "target"]
            behaviour = state.decide(to, body, self.headers)
            state.closed.wait(state.latency)
            match behaviour:
                case Behaviour.HANG:
                    state.closed.wait(60)
                    self.close_connection = True
                case Behaviour.LOST:
                    self.close_connection = True
                case Behaviour.RESET:
                    self._reset()
                case _:
                    self._answer(behaviour, to)

        def _reset(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"messages": [')
            self.wfile.flush()
            linger = struct.pack("ii", 1, 0)  # makes close send a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

        def _answer(self, behaviour: Behaviour, to: str) -> None:
            status, value = ANSWERS[state.kind](behaviour, to)
            text = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            if behaviour is Behaviour.BUSY and state.retry_after is not None:
                self.send_header("Retry-After", state.retry_after)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name is the base class's
            """Print nothing."""

    return Handler


def _form(text: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text.decode()).items()}


def _cloud(behaviour: Behaviour, to: str) -> tuple[int, Any]:  # noqa: PLR0911 -- one branch for each behaviour
    """Return status and body as Meta does; error texts may quote the number or the token."""
    match behaviour:
        case Behaviour.OK:
            accepted = {"id": f"wamid.{to[::-1]}", "message_status": "accepted"}
            contacts = [{"input": to, "wa_id": to}]
            return 200, {
                "messaging_product": "whatsapp",
                "contacts": contacts,
                "messages": [accepted],
            }
        case Behaviour.BAD_NUMBER:
            return 400, _graph(131026, f"Message undeliverable to {to}")
        case Behaviour.BAD_REQUEST:
            return 400, _graph(100, "Invalid parameter")
        case Behaviour.BAD_TOKEN:
            return 401, _graph(190, f"Malformed access token {TOKEN}")
        case Behaviour.BUSY:
            return 429, _graph(130429, "Rate limit hit")
        case Behaviour.BROKEN:
            return 500, _graph(131000, "Something went wrong")
        case _:
            return 200, b"<html>sign in to this hotel's network</html>"


def _graph(code: int, message: str) -> dict[str, Any]:
    details = {"messaging_product": "whatsapp", "details": message}
    return {
        "error": {
            "message": f"(#{code}) {message}",
            "type": "OAuthException",
            "code": code,
            "error_data": details,
            "fbtrace_id": "Az8or2yhqkZfEZ",
        }
    }


def _fonnte(behaviour: Behaviour, to: str) -> tuple[int, Any]:  # noqa: PLR0911 -- one branch for each behaviour
    match behaviour:
        case Behaviour.OK:
            return 200, {
                "detail": "success! message in queue",
                "id": [f"8{to[-6:]}"],
                "process": "pending",
                "requestid": 2937124,
                "status": True,
                "target": [to],
            }
        case Behaviour.BAD_NUMBER:
            return 200, {"Status": False, "reason": "target invalid", "requestid": 2937124}
        case Behaviour.BAD_REQUEST:
            return 200, {"status": False, "reason": "input invalid", "requestid": 2937124}
        case Behaviour.BAD_TOKEN:
            return 200, {"Status": False, "reason": "token invalid", "requestid": 2937124}
        case Behaviour.BUSY:
            return 429, b"slow down"
        case Behaviour.BROKEN:
            return 502, b"bad gateway"
        case _:
            return 200, b"<html>sign in to this hotel's network</html>"


ANSWERS = {"cloud": _cloud, "fonnte": _fonnte}
