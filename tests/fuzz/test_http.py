"""Random requests, made of the service's own description, and bytes that are none at all."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from jobs.demo.shop import Shop
from sweeper.web import bounds, connection
from tests.fuzz.strangers import any_text
from tests.support.length import LONG
from tests.support.verbs import HOUR, OpenApp
from tests.support.web_client import TOKEN, Site, served

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 1_000 if LONG else 25
STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)
REQUESTS = 20_000 if LONG else 250
PATIENCE = 10.0  # seconds for an answer, or the end of the connection

MALFORMED = (
    b"",
    b"\r\n",
    b"\0" * 64,
    b"GET",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"get / http/1.1\r\nhost: a\r\n\r\n",
    b"G\xffT / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%ff%00%zz?%ff=%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: [::1\r\n\r\n",
    b"GET //[ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://[\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: \xff=;=;sweeper=\xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000,
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
    b"POST /api/sweep HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/sweep HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /api/sweep HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /api/sweep HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST /api/sweep HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n\xff=%ff&&=",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)
"""Requests that are none, half ones, and such whose parts contradict each other."""


@pytest.fixture
def site(open_app: OpenApp, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve the page of an app with a few orders, and refuse no request for being one of many."""
    for age in (HOUR, 0 * HOUR):
        shop.order(age=age)
    many = {
        caller: replace(share, rate=1e6, burst=1_000_000) for caller, share in bounds.SHARES.items()
    }
    monkeypatch.setattr(bounds, "SHARES", many)
    with served(open_app(web__token=TOKEN, web__port=0)) as site:
        yield site


def test_every_answer_is_as_the_description_says(site: Site, tmp_path: Path) -> None:
    """Schemathesis, with all its checks, against the server as it is."""
    command = [
        Path(sys.executable).with_name("schemathesis"),
        *("--config-file", CONFIG),
        *("run", f"{site.url}api/openapi.json"),
        *("--header", f"Authorization: Bearer {TOKEN}"),
        *("--max-examples", str(EXAMPLES)),
        *("--max-failures", "5"),
        *("--report-dir", tmp_path / "report"),
        *(() if LONG else ("--seed", "12")),
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=3_600
    )

    assert 0 == done.returncode, done.stdout[-6_000:] + done.stderr[-2_000:]


def test_what_is_no_request_is_refused_and_the_next_one_is_served(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never 500, never an answer that does not come; others are served meanwhile."""
    monkeypatch.setattr(connection, "HEADER_TIMEOUT", 0.2)
    random = Random(12)  # noqa: S311 -- requests, not secrets

    for number in range(len(MALFORMED) + REQUESTS):
        sent = MALFORMED[number] if number < len(MALFORMED) else garbled(random)
        statuses = answers(site, sent)
        assert not {500, 502, 504} & set(statuses), (sent, statuses)
        if number % 20 == 0:
            assert 200 == site.get("/livez").status, sent
    assert 200 == site.get("/readyz").status


def garbled(random: Random) -> bytes:
    """Return one of the malformed requests, or a good one, with some bytes changed."""
    good = f"POST /api/sweep?{any_text(random)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    sent = bytearray(random.choice((*MALFORMED, *([good.encode(errors="replace")] * 20)))[:2_000])
    for _ in range(random.randrange(4)):
        at = random.randrange(len(sent) + 1)
        sent[at : at + random.randrange(3)] = random.randbytes(random.randrange(3))
    return bytes(sent)


def answers(site: Site, sent: bytes) -> list[int]:
    """Send bytes on a connection of their own until its end; return the statuses that came."""
    host, _, port = site.address.rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(65_536):
                received += part
        except (ConnectionError, BrokenPipeError):
            pass  # it was closed before all was sent
    return [int(found) for found in STATUS.findall(received)]
