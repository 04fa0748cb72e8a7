"""The HTTP client: sends one request, and returns its reply or raises why there is none."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from json import JSONDecodeError, loads
from threading import Lock
from typing import Any

from sweeper.errors import LostReplyError, OutsideError

_CLIENT_LOCK = Lock()
_MAX_BYTES = 1 << 20  # of a reply's body; more is an error
_MAX_RETRY_AFTER = timedelta(days=1)  # a longer wait is taken for a mistake and cut


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply to one request.

    body        -- the parsed JSON; None where the body is not valid JSON
    retry_after -- how long the server asks to wait; None where it does not ask
    """

    status: int
    body: Any
    retry_after: timedelta | None = None


def post(
    url: str,
    *,
    timeout: timedelta,
    headers: Mapping[str, str],
    json: Any = None,
    form: Mapping[str, str] | None = None,
) -> Reply:
    """Send one POST request over pooled connections and return the reply, whatever its status.

    timeout -- the longest wait for the connection and for each part of the reply; a reply that
               takes longer as a whole is lost

    Raises OutsideError where the request cannot have arrived, LostReplyError where it may have.
    """
    import httpx  # noqa: PLC0415 -- it takes 0.1 s, which only commands that call HTTP should pay

    began, text = time.monotonic(), bytearray()
    seconds = timeout.total_seconds()
    try:
        with _CLIENT_LOCK:  # or the first calls would each create a client of their own
            client = _client()
        with client.stream(
            "POST", url, headers=headers, json=json, data=form, timeout=seconds
        ) as response:
            for chunk in response.iter_bytes():
                text += chunk
                if len(text) > _MAX_BYTES or time.monotonic() - began > seconds:
                    message = "the reply does not end"
                    raise LostReplyError(message)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        message = f"cannot be reached: {type(error).__name__}"
        raise OutsideError(message) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        message = f"no reply came: {type(error).__name__}"
        raise LostReplyError(message) from error
    return Reply(response.status_code, _parse_body(bytes(text)), _retry_after(response.headers))


@cache
def _client() -> Any:
    """Return the process's only client, whose connection pool all threads share."""
    import httpx  # noqa: PLC0415 -- as in `post`

    return httpx.Client(limits=httpx.Limits(max_connections=None))


def _parse_body(text: bytes) -> Any:
    try:
        return loads(text)
    except (JSONDecodeError, UnicodeDecodeError, RecursionError):
        return None


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Parse the header Retry-After: seconds, or a date (RFC 9110, section 10.2.3)."""
    text = headers.get("retry-after", "")
    try:
        wait = (
            timedelta(seconds=int(text))
            if text.isdigit()
            else parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC)
        )
    except (ValueError, OverflowError):
        return None
    return min(max(wait, timedelta()), _MAX_RETRY_AFTER)
