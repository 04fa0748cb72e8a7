"""Sessions: the tokens that are accepted, the cookies and CSRF tokens of who signed in."""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock

from sweeper.settings import UNNAMED
from sweeper.web.tokens import MADE, Token, digest

SESSION = 3_600.0
"""Seconds for which a session is valid; it also ends when the process ends."""


_MOST = 100  # sessions that are kept; who signs in once more ends the oldest


@dataclass(frozen=True, slots=True)
class _Session:
    """When a session was begun, and the digest of the token that it was begun with."""

    begun: float
    digest: bytes


class Sessions:
    """Knows the tokens that are accepted, and keeps the sessions that were begun with them."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self.tokens = tuple(tokens)
        self._secret = secrets.token_bytes(32)
        self._begun = dict[bytes, _Session]()  # by digest: a lookup's time tells nothing of it
        self._lock = Lock()

    @property
    def exist(self) -> bool:
        """Whether there is any token; without one nobody can sign in."""
        return bool(self.tokens)

    def renew(self, tokens: Iterable[Token]) -> None:
        """Accept *tokens* from now on, and no others: the sessions of those end for good."""
        self.tokens = tuple(tokens)
        digests = {token.digest for token in self.tokens}
        with self._lock:
            self._begun = {
                session: one for session, one in self._begun.items() if one.digest in digests
            }

    def accept(self, given: str) -> Token | None:
        """Return the token that was given; None where it is none of ours.

        Each one is compared, in constant time. A named one must look as we make them, so that
        nobody gets in with a word whose digest somebody wrote into the settings.
        """
        presented, made, found = digest(given), MADE.fullmatch(given), None
        for token in self.tokens:
            is_it = hmac.compare_digest(token.digest, presented)
            if is_it and (made or token.name == UNNAMED):
                found = token
        return found

    def begin(self, token: Token, now: float) -> str:
        """Begin a session of who has *token*, and return its cookie; *now* is in seconds."""
        session = secrets.token_hex(32)
        with self._lock:
            if len(self._begun) >= _MOST:
                del self._begun[next(iter(self._begun))]
            self._begun[digest(session)] = _Session(now, token.digest)
        return session

    def token_of(self, session: str, now: float) -> Token | None:
        """Return the token that *session* was begun with, as it is accepted now.

        None where the session was not begun in this process, has expired or ended, or where its
        token is no longer accepted.
        """
        found = self._begun.get(digest(session))
        if found is None or now >= found.begun + SESSION:
            return None
        return next((token for token in self.tokens if token.digest == found.digest), None)

    def end(self, session: str) -> None:
        """End *session*: its cookie is worth nothing from now on, whoever has a copy."""
        with self._lock:
            self._begun.pop(digest(session), None)

    def csrf_token(self, session: str) -> str:
        """Return the CSRF token for the forms of *session*, which no other site can know."""
        return hmac.new(self._secret, session.encode(), sha256).hexdigest()

    def is_csrf_token(self, session: str, csrf_token: str) -> bool:
        """Return whether *csrf_token* was made for *session*."""
        return _equal(csrf_token, self.csrf_token(session))


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
