"""The limits of the rules in words, as customers read them in texts and reasons."""

import math
from datetime import timedelta
from typing import Any

from sweeper import Batch

_UNITS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
_INDONESIAN = {"day": "hari", "hour": "jam", "minute": "menit", "second": "detik"}


def limit_of(batch: Batch[Any]) -> timedelta:
    """Return how old a row of this batch must be: the rule's `older_than`."""
    return batch.now - batch.cutoff


def in_words(length: timedelta, language: str = "id") -> str:
    """Return *length* in whole seconds or larger units: 30 menit, 24 jam, 1 hour 30 minutes.

    Days are named from two days on, and only if there is no rest: people say 24 hours.
    """
    rest = max(1, math.ceil(length.total_seconds()))
    parts = []
    for unit, seconds in _UNITS.items():
        if unit == "day" and (rest % seconds or rest < 2 * seconds):
            continue
        count, rest = divmod(rest, seconds)
        if count:
            plural = unit if count == 1 else f"{unit}s"
            parts.append(f"{count} {_INDONESIAN[unit] if language == 'id' else plural}")
    return " ".join(parts)
