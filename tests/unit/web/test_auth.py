"""Who is local: by the address that the request comes from, whatever name it gives to this host."""

import asyncio

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sweeper.settings import WebSettings
from sweeper.web.auth import Auth


def request(peer: str, host: str) -> Request:
    """Return a request from the address *peer* to *host*."""
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "http_version": "1.1",
            "headers": [(b"host", host.encode())],
            "client": (peer, 40_000),
        }
    )


@pytest.mark.parametrize("host", ["127.0.0.1:4010", "localhost", "[::1]"])
@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ("127.0.0.1", 200),
        ("127.9.9.9", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("192.168.1.7", 401),
        ("203.0.113.7", 401),
        ("::ffff:203.0.113.7", 401),
        ("testclient", 401),
        ("", 401),
    ],
)
def test_only_a_process_of_this_host_reads_without_the_token(
    peer: str, host: str, status: int
) -> None:
    endpoint = Auth(WebSettings()).require_local_or_token(lambda _request: Response())

    async def answer() -> int:
        try:
            return (await endpoint(request(peer, host))).status_code
        except HTTPException as refusal:
            return refusal.status_code

    assert status == asyncio.run(answer())
