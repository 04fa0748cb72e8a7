"""The picture of the demo shows what the demo says, is small, and fetches nothing."""

import re
from xml.etree import ElementTree as ET

import pytest

from tests.pages.picture import PICTURE, ROWS, drawn, frames
from tests.support.paths import ROOT

LINE = "─" * 60
TALL = "\n".join(f"row {number}" for number in range(2 * ROWS))
DEMO = f"""
\x1b[1mopening\x1b[0m \x1b[2m{LINE}\x1b[0m

A few words.

\x1b[1m1. one\x1b[0m \x1b[2m{LINE}\x1b[0m

  rule    becomes
  {LINE}
  \x1b[36mexpire_dp\x1b[0m

2. two {LINE}
{TALL}

the end {LINE}
"""


def texts(svg: str) -> str:
    """Return all words of an SVG."""
    return " ".join("".join(ET.fromstring(svg).itertext()).split())  # noqa: S314 -- our own


def test_a_frame_holds_the_chapters_that_it_has_room_for() -> None:
    first, second = frames(DEMO)

    assert [ROWS, ROWS] == [len(first), len(second)]
    assert ["opening", "1. one"] == [
        heading for heading in ("opening", "1. one", "2. two") if heading in "\n".join(first)
    ]
    assert ("...", False) == (second[-1], "the end" in "\n".join(second))


def test_the_picture_is_an_svg_with_its_words() -> None:
    svg = drawn(frames(DEMO))

    assert all(word in texts(svg) for word in ("opening", "A few words.", "expire_dp", "row 3"))


@pytest.fixture(scope="module")
def picture() -> str:
    return PICTURE.read_text("utf-8")


def test_the_picture_shows_chapters_that_the_demo_has(picture: str) -> None:
    """Where a chapter is called otherwise now, `make picture` records it anew."""
    told = "".join(path.read_text("utf-8") for path in (ROOT / "jobs" / "demo").glob("*.py"))
    chapters = re.findall(r'chapter\("(\d\. [^"]+)"\)', told)

    assert [] == [chapter for chapter in chapters if chapter not in texts(picture)]
    assert len(chapters) > 5


def test_the_picture_is_small_and_fetches_nothing(picture: str) -> None:
    assert len(picture) < 80_000
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"https?:[^\"')\s]+", picture)
    assert [] == re.findall(r"/(?:tmp|home|root|work)/", picture)


def test_no_full_phone_number_is_in_the_picture(picture: str) -> None:
    """L11: it is shown to everybody."""
    assert [] == re.findall(r"(?<![\w-])(?:62|0|\+)8[\d -]{8,}", texts(picture))
