"""What a terminal, or its reader, would take for something else than text."""

import unicodedata

_LINES = "\n\t"
_JOINERS = "\u200c\u200d"  # without them some scripts and emoji are not what was written


def controls(text: str) -> list[str]:
    """Return the characters of *text* that steer a terminal, hide, or turn the text around."""
    text = text.replace("\r\n", "\n")  # how lines of CSV end
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return [c for c in text if c not in _LINES + _JOINERS and unicodedata.category(c) in kinds]
