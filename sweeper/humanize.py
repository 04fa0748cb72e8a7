"""How the page spells ages, times and numbers."""

from datetime import datetime

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def age(seconds: float) -> str:
    """Return a length of time as people say it: 50 min, 3 h 12 min, 12 h, 2 d 4 h."""
    left, parts = max(0, round(seconds)), list[str]()
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        if parts and (len(parts) == 2 or count >= 10 or not count):  # noqa: PLR2004
            break
    return " ".join(parts) or "0 s"


def at(moment: datetime | str, now: datetime) -> str:
    """Return the time of *moment*, with its day where that is not today's; both are UTC."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    same_day = moment.date() == now.date()
    return f"{moment:%H:%M:%S}" if same_day else f"{moment.day} {moment:%b %H:%M}"


def number(value: float) -> str:
    """Return a number with commas between its thousands."""
    return f"{value:,.0f}"
