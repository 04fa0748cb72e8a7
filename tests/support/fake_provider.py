"""A WhatsApp provider on 127.0.0.1: it answers in the shapes that are published, in any mood."""

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

TOKEN = "rahasia-sekali-token"  # noqa: S105 -- nobody else takes it
NUMBER_ID = "106540352242922"


class Mood(StrEnum):
    """How a request is answered."""

    OK = "taken"
    BAD_NUMBER = "a number that is not on WhatsApp"
    BAD_REQUEST = "a request that is wrong"
    BAD_TOKEN = "a token that is not accepted"  # noqa: S105 -- a mood
    BUSY = "too many requests"
    BROKEN = "an error of its own"
    HANG = "never"
    RESET = "cut off in the middle"
    LOST = "taken, and not answered"
    GARBAGE = "taken, and answered by somebody else"


TAKEN = {Mood.OK, Mood.HANG, Mood.RESET, Mood.LOST, Mood.GARBAGE}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that reached its person; *body* is the whole request."""

    to: str
    at: float
    body: Any


@dataclass(slots=True)
class Provider:
    """What the tests tell it, and what it saw.

    kind        -- cloud or fonnte
    mood        -- how it answers, where no list of moods says otherwise
    moods       -- how it answers the next requests, one by one
    by_number   -- how it answers for one number, whatever else is said
    latency     -- seconds until it answers
    retry_after -- what it says when it is busy; None for nothing
    """

    kind: str
    url: str = ""
    mood: Mood = Mood.OK
    moods: deque[Mood] = field(default_factory=deque)
    by_number: dict[str, Mood] = field(default_factory=dict)
    latency: float = 0.0
    retry_after: str | None = "7"
    deliveries: list[Delivery] = field(default_factory=list)
    requests: int = 0
    lock: Lock = field(default_factory=Lock)
    closed: Event = field(default_factory=Event)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Return the settings, for `open_app`, with which it is reached."""
        own = {"phone_number_id": NUMBER_ID} if self.kind == "cloud" else {}
        usual = {"provider": self.kind, "base_url": self.url, "token": TOKEN, "timeout": "1s"}
        return {f"whatsapp__{name}": value for name, value in (usual | own | more).items()}

    def taken(self, to: str, body: Any, headers: Any) -> Mood:
        """Decide how to answer, and remember what was delivered."""
        expected = TOKEN if self.kind == "fonnte" else f"Bearer {TOKEN}"
        with self.lock:
            self.requests += 1
            mood = self.by_number.get(to) or (self.moods.popleft() if self.moods else self.mood)
            if headers["Authorization"] != expected:
                mood = Mood.BAD_TOKEN
            if mood in TAKEN:
                self.deliveries.append(Delivery(to, time.monotonic(), body))
            return mood


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # all threads of a lane connect at once

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: whoever is killed, or tired of waiting, hangs up."""


@contextmanager
def provider(kind: str) -> Iterator[Provider]:
    """Run one, on a port of its own."""
    state = Provider(kind)
    server = _Server(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
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
            mood = state.taken(to, body, self.headers)
            state.closed.wait(state.latency)
            match mood:
                case Mood.HANG:
                    state.closed.wait(60)
                    self.close_connection = True
                case Mood.LOST:
                    self.close_connection = True
                case Mood.RESET:
                    self._reset()
                case _:
                    self._answer(mood, to)

        def _reset(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"messages": [')
            self.wfile.flush()
            linger = struct.pack("ii", 1, 0)  # with which a close is a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

        def _answer(self, mood: Mood, to: str) -> None:
            status, value = ANSWERS[state.kind](mood, to)
            text = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            if mood is Mood.BUSY and state.retry_after is not None:
                self.send_header("Retry-After", state.retry_after)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- not ours
            """Say nothing."""

    return Handler


def _form(text: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text.decode()).items()}


def _cloud(mood: Mood, to: str) -> tuple[int, Any]:  # noqa: PLR0911 -- a table of moods
    """Answer as Meta does; an error's words may quote the number, or the token."""
    match mood:
        case Mood.OK:
            taken = {"id": f"wamid.{to[::-1]}", "message_status": "accepted"}
            contacts = [{"input": to, "wa_id": to}]
            return 200, {
                "messaging_product": "whatsapp",
                "contacts": contacts,
                "messages": [taken],
            }
        case Mood.BAD_NUMBER:
            return 400, _graph(131026, f"Message undeliverable to {to}")
        case Mood.BAD_REQUEST:
            return 400, _graph(100, "Invalid parameter")
        case Mood.BAD_TOKEN:
            return 401, _graph(190, f"Malformed access token {TOKEN}")
        case Mood.BUSY:
            return 429, _graph(130429, "Rate limit hit")
        case Mood.BROKEN:
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


def _fonnte(mood: Mood, to: str) -> tuple[int, Any]:  # noqa: PLR0911 -- likewise
    match mood:
        case Mood.OK:
            return 200, {
                "detail": "success! message in queue",
                "id": [f"8{to[-6:]}"],
                "process": "pending",
                "requestid": 2937124,
                "status": True,
                "target": [to],
            }
        case Mood.BAD_NUMBER:
            return 200, {"Status": False, "reason": "target invalid", "requestid": 2937124}
        case Mood.BAD_REQUEST:
            return 200, {"status": False, "reason": "input invalid", "requestid": 2937124}
        case Mood.BAD_TOKEN:
            return 200, {"Status": False, "reason": "token invalid", "requestid": 2937124}
        case Mood.BUSY:
            return 429, b"slow down"
        case Mood.BROKEN:
            return 502, b"bad gateway"
        case _:
            return 200, b"<html>sign in to this hotel's network</html>"


ANSWERS = {"cloud": _cloud, "fonnte": _fonnte}
