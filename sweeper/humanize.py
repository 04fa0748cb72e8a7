"""Ages, times and numbers in the form that the status page shows to people."""

from datetime import datetime

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


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


def at(moment: datetime | str, now: datetime) -> str:
    """Format the time of *moment*, with its date unless that is the date of *now*; both are UTC."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    same_day = moment.date() == now.date()
    return f"{moment:%H:%M:%S}" if same_day else f"{moment.day} {moment:%b %H:%M}"


def number(value: float) -> str:
    """Format a number without decimals and with commas between the thousands."""
    return f"{value:,.0f}"
