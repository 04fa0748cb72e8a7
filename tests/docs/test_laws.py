"""The page about the laws: it has each of them, and the tests that it names hold them."""

import re

import pytest

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "explanation" / "laws.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"(?ms)^## (L\d+) .*?\n(.*?)(?=^## |\Z)", PAGE))
LAWS = re.findall(r"(?m)^- \*\*(L\d+) ", (ROOT / "docs" / "architecture.md").read_text("utf-8"))


def test_the_page_has_every_law() -> None:
    assert LAWS == list(SECTIONS)


@pytest.mark.parametrize("law", LAWS)
def test_a_law_names_tests_whose_docstrings_name_it(law: str) -> None:
    named = re.findall(r"`(tests/\S+\.py)`", SECTIONS[law])

    others = [
        path for path in named if not re.search(rf"\b{law}\b", (ROOT / path).read_text("utf-8"))
    ]

    assert named
    assert [] == others
