"""Ages, times, numbers and strangers' text in the form that people are shown."""

import re
from datetime import UTC, datetime, tzinfo

_AGREE_MS = 100
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))

# Controls of terminals (C0, C1), line and paragraph separators, marks and overrides of the writing
# direction, characters without a shape, tags, and halves of surrogate pairs. Not the joiners of
# U+200C and U+200D, without which some scripts and emoji are not what was written.
# https://trojansource.codes/
_CONTROL = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_TEXT = re.compile(f"[{_CONTROL}]")
_IN_LINE = re.compile(f"[{_CONTROL}\\t\\n]")


def age(seconds: float) -> str:
    """Format a length of time in at most two units: 50 min, 3 h 12 min, 12 h, 2 d 4 h."""
    left, parts = max(0, round(seconds)), list[str]()
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        if parts and (len(parts) == 2 or count >= 10 or not count):  # noqa: PLR2004
            break
    return " ".join(parts) or "0 s"


def at(moment: datetime | str, *, seconds: bool = False, zone: tzinfo | None = UTC) -> str:
    """Format a time as 2026-11-30 17:05.

    zone -- the zone that whoever shows it names; None for this host's
    """
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return f"{in_zone(moment, zone):%Y-%m-%d %H:%M{':%S' if seconds else ''}}"


def in_zone(moment: datetime, zone: tzinfo | None = None) -> datetime:
    """Return *moment* in *zone*, None for this host's; as it is where no calendar has it there."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


def clocks(skew_ms: float) -> str:
    """Say whether this host's clock and the database's agree, and otherwise how they differ."""
    if abs(skew_ms) < _AGREE_MS:
        return "clocks agree"
    side = "ahead of" if skew_ms > 0 else "behind"
    return f"this host's clock is {number(abs(skew_ms))} ms {side} the database's"


def number(value: float) -> str:
    """Format a number without decimals and with commas between the thousands."""
    return f"{value:,.0f}"


def capped(value: float, most: float) -> str:
    """Return a number of which no more than *most* is counted."""
    return number(value) if value < most else f"{number(most)} or more"


def visible(text: str) -> str:
    r"""Return *text* with control characters as escapes, such as \x1b; line ends and tabs stay."""
    return _IN_TEXT.sub(_escape, text)


def in_line(text: str) -> str:
    r"""Return *text* as one line: line ends and tabs are escapes too."""
    return _IN_LINE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
