"""The blocks of the pages that need root and systemd, typed on a machine that has both.

They come in the order of an operator's reading, and the last block of all removes the service.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url

from jobs.demo.sample_orders import add_sample_orders
from jobs.demo.shop import Shop, create_platform
from tests.pages.blocks import Block, blocks, pages
from tests.pages.placeholders import filled
from tests.support.container import ROOT, Container, booted, lacking, wheelhouse
from tests.support.network import network_proxy

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

IN_ORDER = [
    ROOT / "docs" / "how-to" / f"{name}.md"
    for name in ("install", "first-sweep", "configure", "watch", "act")
]
REMOVES = "sudo make uninstall"

# What stands in for the person: sudo without a password, an editor, and the clipboard.
SUDO = '#!/bin/sh\nexport PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels\nexec env "$@"\n'
EDITOR = """#!/bin/sh
exec sed -i 's/^# taken_at = .*/taken_at = "checkout"/; s/^port = .*/port = 0/' "$1"
"""
_PASTE = re.compile(r"cat > (/etc/sweeper/credentials/\w+)'")


@pytest.fixture(scope="module")
def url(server_url: str, admin: psycopg.Connection) -> Iterator[str]:
    """Create a platform with orders, and yield a URL at which the machine reaches it."""
    admin.execute("create database jastip_pages")
    admin.execute("create role reader login")
    direct = make_url(server_url).set(database="jastip_pages")
    engine = create_engine(direct.set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        create_platform(connection)
        add_sample_orders(Shop(connection, datetime.now(UTC)))
    engine.dispose()
    with network_proxy(server_url) as network:
        yield network.url(direct.render_as_string(hide_password=False), "secret")
    admin.execute("drop database jastip_pages with (force)")
    admin.execute("drop role reader")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """Boot a machine on which nothing of the sweeper is installed."""
    with booted(wheelhouse(tmp_path_factory.mktemp("wheels"))) as machine:
        for name, text in (("sudo", SUDO), ("sudoedit", EDITOR)):
            place = f"/usr/local/bin/{name}"
            machine.run(f"cat > {place} <<'END'\n{text}END\nchmod +x {place}")
        yield machine


def in_the_container(page: Path) -> list[Block]:
    """Return a page's blocks that are typed on the machine."""
    return [block for block in blocks(page) if block.is_shell and block.runner == "container"]


def type_block(block: Block, machine: Container, url: str) -> None:
    """Type a block as root in the clone; fail with its place if a command of it fails."""
    pasted = f'echo "{url}" > \\1\''
    text = _PASTE.sub(pasted, filled(block.text, {"ROLE": "reader"}))
    ended = machine.attempt(f"cd /src && bash -ec {_quoted(text)}")
    assert ended.returncode == 0, f"{block}\n{text}\n{ended.stdout}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def test_every_page_with_such_blocks_is_typed() -> None:
    assert set(IN_ORDER) == {page for page in pages() if in_the_container(page)}


@pytest.mark.parametrize("page", IN_ORDER, ids=lambda page: page.name)
def test_the_blocks_of_a_page_do_what_they_say(page: Path, machine: Container, url: str) -> None:
    for block in in_the_container(page):
        if not block.text.startswith(REMOVES):
            type_block(block, machine, url)


def test_the_last_block_removes_the_service(machine: Container, url: str) -> None:
    """This test must be the last one."""
    (last,) = (b for b in in_the_container(IN_ORDER[0]) if b.text.startswith(REMOVES))

    type_block(last, machine, url)

    assert machine.attempt("systemctl cat sweeper").returncode
    assert "" == machine.run("find /opt /usr/local -name '*sweeper*'")
