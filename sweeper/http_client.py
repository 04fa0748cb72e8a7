"""The only file that calls HTTP: one request, and its reply or an error that says what is known."""

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

_ALONE = Lock()
_LONGEST = 1 << 20  # bytes of a reply that are read
_PATIENCE = timedelta(days=1)  # the longest that a Retry-After is believed


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said.

    body        -- the value that its JSON spells; None where it is no JSON
    retry_after -- how long it asks to wait; None where it does not
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

    timeout -- the longest silence, at connecting as at answering; and a reply that goes on for
               longer is lost

    Raises OutsideError where the request cannot have arrived, LostReplyError where it may have.
    """
    import httpx  # noqa: PLC0415 -- a tenth of a second that only those who call need pay

    began, text = time.monotonic(), bytearray()
    seconds = timeout.total_seconds()
    try:
        with _ALONE:  # or the first calls would each make a client of their own
            client = _client()
        with client.stream(
            "POST", url, headers=headers, json=json, data=form, timeout=seconds
        ) as response:
            for chunk in response.iter_bytes():
                text += chunk
                if len(text) > _LONGEST or time.monotonic() - began > seconds:
                    message = "the reply does not end"
                    raise LostReplyError(message)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        message = f"cannot be reached: {type(error).__name__}"
        raise OutsideError(message) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        message = f"no reply came: {type(error).__name__}"
        raise LostReplyError(message) from error
    return Reply(response.status_code, _value(bytes(text)), _wait(response.headers))


@cache
def _client() -> Any:
    """Return the process's only client; its connections are shared by all threads."""
    import httpx  # noqa: PLC0415 -- likewise

    return httpx.Client(limits=httpx.Limits(max_connections=None))


def _value(text: bytes) -> Any:
    try:
        return loads(text)
    except (JSONDecodeError, UnicodeDecodeError, RecursionError):
        return None


def _wait(headers: Mapping[str, str]) -> timedelta | None:
    """Read Retry-After: seconds, or a date (RFC 9110, section 10.2.3)."""
    text = headers.get("retry-after", "")
    try:
        wait = (
            timedelta(seconds=int(text))
            if text.isdigit()
            else parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC)
        )
    except (ValueError, OverflowError):
        return None
    return min(max(wait, timedelta()), _PATIENCE)
