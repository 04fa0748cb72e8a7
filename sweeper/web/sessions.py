"""Sessions: cookies and CSRF tokens for browsers that have signed in with the token."""

import hmac
import secrets
from hashlib import sha256
from threading import Lock

SESSION = 3_600.0
"""Seconds for which a session is valid; it also ends when the process ends."""


_MOST = 100  # sessions that are kept; who signs in once more ends the oldest


class Sessions:
    """Checks the token, and keeps the sessions that were begun with it.

    exist -- whether a token is set; without one nobody can sign in
    """

    def __init__(self, token: str | None) -> None:
        self.exist = bool(token)
        self._token = _digest(token or secrets.token_hex())
        self._secret = secrets.token_bytes(32)
        self._begun = dict[bytes, float]()  # by digest: a lookup's time says nothing about a cookie
        self._lock = Lock()

    def accept(self, token: str) -> bool:
        """Return whether *token* is the token of the settings, in constant time."""
        return hmac.compare_digest(self._token, _digest(token))

    def begin(self, now: float) -> str:
        """Begin a session, and return its cookie; *now* is in seconds."""
        session = secrets.token_hex(32)
        with self._lock:
            if len(self._begun) >= _MOST:
                del self._begun[next(iter(self._begun))]
            self._begun[_digest(session)] = now
        return session

    def is_valid(self, session: str, now: float) -> bool:
        """Return whether *session* was begun in this process, and has neither expired nor ended."""
        begun = self._begun.get(_digest(session))
        return begun is not None and now < begun + SESSION

    def end(self, session: str) -> None:
        """End *session*: its cookie is worth nothing from now on, whoever has a copy."""
        with self._lock:
            self._begun.pop(_digest(session), None)

    def csrf_token(self, session: str) -> str:
        """Return the CSRF token for the forms of *session*, which no other site can know."""
        return hmac.new(self._secret, session.encode(), sha256).hexdigest()

    def is_csrf_token(self, session: str, csrf_token: str) -> bool:
        """Return whether *csrf_token* was made for *session*."""
        return _equal(csrf_token, self.csrf_token(session))


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _digest(text: str) -> bytes:
    return sha256(text.encode(errors="replace")).digest()
