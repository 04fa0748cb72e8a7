"""Tokens: who may read or act over HTTP, by name; the settings hold their digests, no secrets."""

import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from sweeper.settings import UNNAMED, WebSettings

MADE = re.compile(r"swp_[A-Za-z0-9_-]{43}")
"""What a token of ours looks like: 32 random bytes, and a beginning by which logs know it."""


class Scope(StrEnum):
    """What the bearer of a token may do; who may act may also read."""

    READ = "read"
    ACT = "act"


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is accepted, by its digest; its bearer alone has the token itself."""

    name: str
    scope: Scope
    digest: bytes = field(repr=False)

    @property
    def may_act(self) -> bool:
        """Whether its bearer may change anything."""
        return self.scope is Scope.ACT


def accepted(settings: WebSettings) -> tuple[Token, ...]:
    """Return every token of the settings; `web.token` may act, and its name is "token"."""
    one = settings.token.get_secret_value() if settings.token else ""
    unnamed = [Token(UNNAMED, Scope.ACT, digest(one))] if one else []
    return (*unnamed, *(_parsed(name, text) for name, text in settings.tokens.items()))


def make() -> str:
    """Return a new token, which nobody can guess."""
    return f"swp_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> bytes:
    """Return the digest by which a token is known; that of 32 random bytes tells nothing of it."""
    return sha256(secret.encode(errors="replace")).digest()


def line(secret: str, scope: Scope) -> str:
    """Return how a token stands in the settings."""
    return f"{scope} sha256:{digest(secret).hex()}"


def _parsed(name: str, text: str) -> Token:
    scope, _, hexadecimal = text.partition(" sha256:")
    return Token(name, Scope(scope), bytes.fromhex(hexadecimal))
