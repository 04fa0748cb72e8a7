"""Control characters are made visible, and what people write stays as it is."""

import pytest

from sweeper.humanize import in_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x08\x7f", r"a\rb\x08\x7f"),
        ("\u202egnp.exe\u2066\u200f", r"\u202egnp.exe\u2066\u200f"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\ud800", r"\ud800"),
        ("\x00\ufeff\u200b\U000e0041", r"\x00\ufeff\u200b\U000e0041"),
    ],
)
def test_a_control_character_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert (shown, shown) == (visible(text), in_line(text))


@pytest.mark.parametrize(
    "text", ["Sari Wulandari", "Rp 50.000, ok", "سارة", "क्‍ष", "👩‍💻", r"C:\x1b", ""], ids=repr
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert (text, text) == (visible(text), in_line(text))


def test_only_a_line_loses_line_ends_and_tabs() -> None:
    assert ("a\n\tb", r"a\n\tb") == (visible("a\n\tb"), in_line("a\n\tb"))
