"""The man page: whole, and well-formed for those who read man pages."""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper import catalog
from sweeper.cli.help.first_steps import ENVIRONMENT, EXIT_CODES, FILES
from sweeper.cli.help.manual import roff
from tests.unit.cli.examples import pages

NO_DATE = 'missing date, using ""'  # the same program makes the same page on any day


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the man page as a file."""
    file = tmp_path_factory.mktemp("manual") / "sweeper.1"
    file.write_text(roff(pages()[0], catalog.load("jobs")) + "\n")
    return file


def ran(*command: object) -> str:
    """Return all that a program prints."""
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "MANWIDTH": "200", "TERM": "dumb"}
    told = subprocess.run(
        [*map(str, command)], check=False, env=environment, capture_output=True, text=True
    )
    return told.stdout + told.stderr


def test_every_command_option_and_example_is_in_it(page: Path) -> None:
    told = re.sub(r"\\&", "", page.read_text()).replace("\\-", "-")
    told = told.replace("\\(aq", "'").replace("\\(dq", '"').replace("\\(ga", "`")
    told = told.replace("\\e", "\\")

    for one in pages():
        assert f"\\fB{one.name}\\fR [OPTIONS]" in told.replace("\\\\", "\\")
        assert [] == [each.heading for each in one.options if each.heading not in told]
        assert [] == [each.line for each in one.examples if each.line not in told]


def test_it_says_where_to_begin_and_what_surrounds_the_commands(page: Path) -> None:
    told = page.read_text().replace("\\-", "-")

    sections = re.findall(r'^\.SH "(.+)"$', told, re.MULTILINE)
    assert ["NAME", "SYNOPSIS", "DESCRIPTION", "FIRST STEPS", "START"] == sections[:5]
    assert ["EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"] == sections[-4:]
    assert [] == [key for key in (*EXIT_CODES, *ENVIRONMENT, *FILES) if key not in told]


def test_it_is_made_without_the_job_package() -> None:
    assert '.SH "RUN"' in roff(pages()[0], None)


def test_no_text_is_taken_for_a_macro_or_an_escape() -> None:
    strange = replace(pages()[0], description=(".so /etc/passwd", "'so a\\nb"), commands=())

    told = roff(strange, None).splitlines()

    assert "\\&.so /etc/passwd" in told
    assert "\\(aqso a\\enb" in told


@pytest.mark.skipif(not shutil.which("mandoc"), reason="needs mandoc")
def test_mandoc_finds_no_fault(page: Path) -> None:
    found = ran("mandoc", "-Tlint", page).splitlines()

    assert [] == [line for line in found if NO_DATE not in line]


@pytest.mark.skipif(not shutil.which("man"), reason="needs man")
def test_man_shows_it_without_a_warning(page: Path) -> None:
    told = ran("man", "--warnings", "-E", "UTF-8", "-P", "cat", "-l", page)

    assert "warning" not in told
    assert "sweeper sweep --dry-run" in told
    assert '\'{"orderId": "ckz1"}\'' in told
