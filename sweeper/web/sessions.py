"""Sessions: signed cookies and CSRF tokens for browsers that have signed in with the token."""

import hmac
import secrets
from hashlib import sha256

SESSION = 3_600.0
"""Seconds for which a session is valid; it also ends when the process ends."""


class Sessions:
    """Checks the token, and signs sessions with a secret of this process.

    exist -- whether a token is set; without one nobody can sign in
    """

    def __init__(self, token: str | None) -> None:
        self.exist = bool(token)
        self._token = _digest(token or secrets.token_hex())
        self._secret = secrets.token_bytes(32)

    def accept(self, token: str) -> bool:
        """Return whether *token* is the token of the settings, in constant time."""
        return hmac.compare_digest(self._token, _digest(token))

    def session(self, now: float) -> str:
        """Return the cookie of a new session; *now* is in seconds."""
        started = f"{now:.0f}.{secrets.token_hex(16)}"
        return f"{started}.{self._signed('session', started)}"

    def is_valid(self, session: str, now: float) -> bool:
        """Return whether *session* was signed by this process and has not expired."""
        started, _, signature = session.rpartition(".")
        genuine = _equal(signature, self._signed("session", started))
        return genuine and now < float(started.partition(".")[0]) + SESSION

    def csrf_token(self, session: str) -> str:
        """Return the CSRF token for the forms of *session*, which no other site can know."""
        return self._signed("form", session)

    def is_csrf_token(self, session: str, csrf_token: str) -> bool:
        """Return whether *csrf_token* was made for *session*."""
        return _equal(csrf_token, self.csrf_token(session))

    def _signed(self, kind: str, text: str) -> str:
        return hmac.new(self._secret, f"{kind} {text}".encode(), sha256).hexdigest()


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _digest(text: str) -> bytes:
    return sha256(text.encode(errors="replace")).digest()
