"""Tokens, sessions and patience: what a door needs to know, whoever stands before it."""

import hmac
import secrets
from hashlib import sha256

SESSION = 3_600.0
"""Seconds for which a browser may act; the process's end ends it, too."""


class Sessions:
    """Knows the token, and lends browsers sessions: signed, short, gone with the process."""

    def __init__(self, token: str | None) -> None:
        self.exist = bool(token)
        self._token = _digest(token or secrets.token_hex())
        self._secret = secrets.token_bytes(32)

    def accept(self, token: str) -> bool:
        """Return whether *token* is ours; how long that takes tells nothing about it."""
        return hmac.compare_digest(self._token, _digest(token))

    def session(self, now: float) -> str:
        """Return a new session; *now* is in seconds."""
        started = f"{now:.0f}.{secrets.token_hex(16)}"
        return f"{started}.{self._signed('session', started)}"

    def is_valid(self, session: str, now: float) -> bool:
        """Return whether *session* is one of ours and still good."""
        started, _, signature = session.rpartition(".")
        genuine = _same(signature, self._signed("session", started))
        return genuine and now < float(started.partition(".")[0]) + SESSION

    def csrf_token(self, session: str) -> str:
        """Return what the forms of *session* carry, and no other site can know."""
        return self._signed("form", session)

    def is_csrf_token(self, session: str, csrf_token: str) -> bool:
        """Return whether a form with *seal* is one of ours, made for *session*."""
        return _same(csrf_token, self.csrf_token(session))

    def _signed(self, kind: str, text: str) -> str:
        return hmac.new(self._secret, f"{kind} {text}".encode(), sha256).hexdigest()


def _same(given: str, ours: str) -> bool:
    return hmac.compare_digest(given.encode(), ours.encode())


def _digest(text: str) -> bytes:
    return sha256(text.encode(errors="replace")).digest()
