"""Redaction: masks secrets and phone numbers in everything that leaves the process."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from structlog.typing import EventDict

PHONE = "[phone]"
SECRET = "***"  # noqa: S105 -- the mask, not a secret

_LONGEST = 10_000  # characters of one text that are masked and logged
_LINE = 500
_NOTICE = 40  # characters that say how many were cut: fewer are not worth a cut
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")

_SHORTEST_SECRET = 4  # a shorter secret would mask half of every line

# A fast path: most strings are an id of the platform (a cuid), or one word without a digit.
_ID = re.compile(r"c[0-9a-z]{24}")
_WORD = re.compile(r"[A-Za-z_.-]{,30}")

# Long and full of digits, but not a phone number: UUID, cuid, digest, ISO 8601.
_NOT_A_PHONE = r"""
    (?<! [0-9a-z] )
    (?: [0-9a-f]{8} (?:-[0-9a-f]{4}){3} -[0-9a-f]{12}
      | (?-i: c [0-9a-z]{24} )
      | [0-9a-f]{32} | [0-9a-f]{40} | [0-9a-f]{64}
      | (?:19|20)\d\d-[01]\d-[0-3]\d
        (?: [T\ ] \d\d:\d\d (?: :\d\d (?:[.,]\d{1,9})? )? (?: Z | [+-]\d\d (?: :?\d\d )? )? )?
      | (?:19|20)\d{6} T \d{6} (?:\d{3})?
    )
    (?! [0-9a-z] )
"""
# Between two digits: any separator that people, chat programs, URLs and repr() use.
_GAP = r"(?: [-\s().+\u2000-\u206f] | %2[089BD] | \\(?: [nrt] | x[0-9a-f]{2} | u[0-9a-f]{4} ) ){,4}"
_GAP_WITHOUT_DOT = _GAP.replace(".", "")  # where a dot would make a decimal number
_NOT_IN_A_NUMBER = r"(?<! \d ) (?<! \d\. )"
# Any country's number after a plus sign or 00 (ITU-T E.164: at most 15 digits, and the prefix that
# a checkout may add); Indonesian mobile numbers (8, then 7 digits or more), after any repetition of
# 62 and 0, or without a prefix.
_A_PHONE = rf"""
    (?: \+ | %2B | {_NOT_IN_A_NUMBER} 00 ) (?! \d+\.\d\ s\b ) {_GAP} [1-9] (?: {_GAP} \d ){{7,16}}
  | {_NOT_IN_A_NUMBER} (?: (?:62|0) {_GAP_WITHOUT_DOT} ){{1,4}} 8 (?: {_GAP} \d ){{7,12}}
  | {_NOT_IN_A_NUMBER} 8[1235789] (?: {_GAP_WITHOUT_DOT} \d ){{7,11}}
"""
_PHONES = re.compile(rf"({_NOT_A_PHONE}) | (?: {_A_PHONE} ) (?!\d)", re.VERBOSE | re.IGNORECASE)

_NAMED = r"(?: password | passwd | passphrase | secret | token | api[-_]?key )"
_CREDENTIALS = re.compile(
    rf"""
    ( :// [^\s:/@]{{,100}} : ) \S{{,300}} (?=@)
  | ( \b bearer \s+ ) [^\s"',;)}}\]]+
  | ( (?: authorization | cookie ) (?: ["']? \s* [:=] | ["'] \s* , ) \s* (?: b?["'] )? ) [^"'\r\n]+
  | ( {_NAMED} ["']? \s* [:=] \s* ) (?: b?"[^"]*" | b?'[^']*' | [^\s"',;&)}}\]]+ )
  | () \b eyJ [\w-]+ (?: \.[\w-]+ ){{1,2}}
  | () \b swp_[\w-]{{43}}
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SECRET_KEY = re.compile(rf"(?: {_NAMED} | authorization | cookie ) $", re.VERBOSE | re.IGNORECASE)

_known: Mapping[str, re.Pattern[str]] = {}


def set_secrets(secrets: Iterable[str]) -> None:
    """Mask these values from now on, wherever they occur, instead of those of an earlier call."""
    global _known  # noqa: PLW0603 -- replaced at once: another thread may be masking
    values = [each for secret in secrets for each in (secret, unquote(secret), *_password(secret))]
    longest_first = sorted(set(values), key=len, reverse=True)
    _known = {each: _pattern(each) for each in longest_first if len(each) >= _SHORTEST_SECRET}


def text(value: str) -> str:
    """Mask secrets and phone numbers in *value*; ids, times and other numbers stay."""
    if _ID.fullmatch(value) and value not in _known:
        return value
    for secret in _known.values():
        value = secret.sub(SECRET, value)
    if _WORD.fullmatch(value):
        return value
    value = _CREDENTIALS.sub(lambda found: f"{found[found.lastindex or 0]}{SECRET}", value)
    return _PHONES.sub(lambda found: found[1] or PHONE, value)


def one_line(value: str) -> str:
    """Return the first line of *value*, masked and bounded, so that it can be stored anywhere.

    No text in Postgres can hold a NUL, and no JSON there half a surrogate pair; they and other
    control characters are replaced.
    """
    first = (value.strip().splitlines() or [""])[0]
    return short(_UNSAFE.sub("\ufffd", first))


def short(value: str, limit: int = _LINE) -> str:
    """Return *value* masked, and cut like `shortened`: for texts that may hold a message's own."""
    return _cut(text(value[:_LONGEST]), limit, max(0, len(value) - _LONGEST))


def shortened(value: str, limit: int) -> str:
    """Return *value*, or its first *limit* characters and how many were cut.

    A text that was shortened before, or is hardly longer, is returned as it is.
    """
    return _cut(value, limit, 0)


def _cut(value: str, limit: int, unseen: int) -> str:
    cut = max(0, len(value) - limit) + unseen
    return f"{value[:limit]}... ({cut} characters cut)" if cut > _NOTICE else value


def line(_logger: object, _method: str, values: EventDict) -> EventDict:
    """Mask a log line's values; must be the last processor before the renderer."""
    return {name: value if name == "level" else _masked(value) for name, value in values.items()}


def _masked(value: Any) -> Any:
    """Mask *value* and convert it to JSON's types, so that nothing becomes text after this."""
    match value:
        case str():
            return short(value, _LONGEST)
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {
                text(str(name)): SECRET if _SECRET_KEY.search(str(name)) else _masked(inner)
                for name, inner in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_masked(inner) for inner in value]
        case _:
            return text(str(value))


def _password(secret: str) -> Iterator[str]:
    """Yield the passwords of a URL, as they are written there and percent-decoded."""
    _, scheme, rest = secret.partition("://")
    if not scheme:
        return
    pairs = (pair.partition("=") for pair in rest.partition("?")[2].split("&"))
    in_query = (value for name, _, value in pairs if _SECRET_KEY.search(name))
    for password in (rest.rpartition("@")[0].partition(":")[2], *in_query):
        yield from (password, unquote(password), unquote_plus(password))


def _pattern(secret: str) -> re.Pattern[str]:
    """Return a pattern of *secret* as texts, URLs, JSON and repr() spell it, even nested."""
    return re.compile("".join(map(_spellings, re.findall(r"\\+|[^\\]", secret))))


def _spellings(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    if character.startswith("\\"):
        return r"(?:\\|%5C)+"
    escapes = {json.dumps(character)[1:-1], repr(character)[1:-1]} - {character}
    spellings = [
        r"\\*" + re.escape(character),
        *(r"\\+".join(map(re.escape, escape.split("\\"))) for escape in escapes),
        *(f"(?i:{re.escape(each)})" for each in (quote(character, safe=""), quote_plus(character))),
    ]
    return f"(?:{'|'.join(spellings)})"
