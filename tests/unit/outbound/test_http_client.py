"""The HTTP client: a POST returns a reply, or raises an error that says what is known."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, ClassVar

import pytest

from sweeper.errors import LostReplyError, OutsideError
from sweeper.outbound.http_client import Reply, _retry_after, post

SECOND = timedelta(seconds=1)


class Echo(BaseHTTPRequestHandler):
    """Echoes the request, or behaves as its path says: hang, hang up, dribble or fail."""

    protocol_version = "HTTP/1.1"
    over: ClassVar[Event] = Event()

    def do_POST(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match self.path:
            case "/hang":
                self.over.wait(10)
                self.close_connection = True
            case "/hangup":
                self.close_connection = True
            case "/dribble":
                self._dribble()
            case path:
                echo = {"body": body.decode(), "token": self.headers["Authorization"]}
                text = json.dumps(echo).encode() if path == "/echo" else b"<html>"
                self.send_response(200 if path == "/echo" else 503)
                self.send_header("Content-Length", str(len(text)))
                self.send_header("Retry-After", "17")
                self.end_headers()
                self.wfile.write(text)

    def _dribble(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        try:
            while not self.over.wait(0.05):
                self.wfile.write(b" ")
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- not ours
        """Log nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Echo.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_reply_holds_the_status_the_decoded_json_and_the_retry_after(url: str) -> None:
    reply = post(f"{url}/echo", headers={"Authorization": "t"}, json={"to": 1}, timeout=SECOND)

    expected = {"body": '{"to":1}', "token": "t"}
    assert Reply(200, expected, timedelta(seconds=17)) == reply


def test_a_form_is_sent_url_encoded(url: str) -> None:
    reply = post(f"{url}/echo", headers={}, form={"to": "628", "text": "a b"}, timeout=SECOND)

    assert "to=628&text=a+b" == reply.body["body"]


def test_a_body_that_is_not_json_gives_a_reply_without_a_body(url: str) -> None:
    reply = post(f"{url}/other", headers={}, json={}, timeout=SECOND)

    assert (503, None) == (reply.status, reply.body)


@pytest.mark.parametrize(
    ("path", "error"),
    [("hang", "ReadTimeout"), ("hangup", "RemoteProtocolError"), ("dribble", "does not end")],
)
def test_a_request_that_may_have_arrived_raises_a_lost_reply_error(
    url: str, path: str, error: str
) -> None:
    """If no reply comes, or it breaks off or never ends, the request may have been carried out."""
    with pytest.raises(LostReplyError, match=error):
        post(f"{url}/{path}", headers={}, json={}, timeout=SECOND / 2)


def test_a_request_that_cannot_have_arrived_raises_an_outside_error() -> None:
    with pytest.raises(OutsideError, match="cannot be reached") as caught:
        post("http://127.0.0.1:9/", headers={}, json={}, timeout=SECOND)

    assert OutsideError is caught.type


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("", None),
        ("0", timedelta()),
        ("120", timedelta(minutes=2)),
        ("999999999999", timedelta(days=1)),
        ("soon", None),
        ("-5", None),
        ("Fri, 31 Jan 2020 12:00:00 GMT", timedelta()),
    ],
)
def test_the_wait_is_read_from_the_retry_after_header(text: str, wait: timedelta | None) -> None:
    assert wait == _retry_after({"retry-after": text})


def test_the_retry_after_header_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)

    wait = _retry_after({"retry-after": soon})

    assert wait is not None
    assert timedelta(seconds=80) < wait <= timedelta(seconds=90)
