"""The shell blocks of README and docs/ are typed into a shell, as a reader would, and all work."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from jobs.demo.sample_orders import INT_MAX, add_sample_orders
from jobs.demo.shop import Shop
from sweeper.app import App
from tests.pages.blocks import blocks, pages
from tests.pages.placeholders import URL, filled
from tests.pages.shell import Shell, shell
from tests.support.console import DEAD_CODE, fill_console
from tests.support.paths import ROOT
from tests.support.verbs import HOUR, dead_letters, drain, rows, send

HERE = [page for page in pages() if any(b.is_shell and b.runner == "here" for b in blocks(page))]
STAND_INS = Path(__file__).with_name("stand_ins.sh").read_text("utf-8")
WITHOUT_A_DATABASE = {"README.md", "docs/quick-start.md"}
LEFT_BEHIND = (
    "__pycache__",
    ".git",
    ".venv",
    ".*_cache",
    ".coverage*",
    ".hypothesis",
    "dist",
    "site",
)

Fill = Callable[[str], str]
OpenShell = Callable[..., AbstractContextManager[Shell]]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the tree, as `git clone` and a first `make` leave it."""
    copy = tmp_path / "clone"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    (copy / ".venv").mkdir()
    (copy / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
    (copy / ".venv" / "ready").touch()
    return copy


@pytest.fixture
def memory() -> Iterator[Path]:
    """Return a folder for the servers that commands start; they are stopped afterwards."""
    with TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        for pid in Path(folder).rglob("postmaster.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(pid.read_text().split()[0]), signal.SIGINT)


@pytest.fixture
def own_platform(platform_url: str, now: datetime) -> str:
    """Return the URL of a platform that has orders, some due, and nothing of the sweeper's."""
    engine = create_engine(make_url(platform_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        watched = add_sample_orders(Shop(connection, now))
        mended = {"id": watched.overflow_product}  # the demo shows what becomes of a job that fails
        connection.execute(text('update "Product" set stock = 0 where id = :id'), mended)
    engine.dispose()
    return platform_url


@pytest.fixture
def values(app: App, shop: Shop, connection: Connection) -> dict[str, str]:
    """Fill a shop with something of everything; return what the words in CAPITALS stand for.

    Of ORDER there are two: the one whose job is dead, and one that is owed a refund.

    Three dead letters have the cause that the pages speak of, and it is mended.
    """
    order = fill_console(app, shop)
    shelf = shop.product(stock=INT_MAX)
    for _ in range(2):
        full = shop.order(age=HOUR, items=[(shelf, 1)])
        send(app, "ORDER_EXPIRE_DP", {"orderId": full}, maxRetries=0)
    drain(app)
    connection.execute(text('update "Product" set stock = 0 where stock > 1000'))
    refund, *_ = rows(connection, "sweeper.refund")
    return {
        "ORDER_ID": order,
        "ORDER": DEAD_CODE,
        "refunds settle ORDER": f"refunds settle {refund['order_id']}",
        "RULE": "expire_dp",
    }


@pytest.fixture
def fill(app: App, values: dict[str, str], own_platform: str) -> Fill:
    """Return a function that puts real values, as they are now, in the place of a block's words."""

    def fill_now(block: str) -> str:
        letter, *_ = sorted(dead_letters(app), key=lambda found: found.type != "ORDER_EXPIRE_DP")
        now = {"ID": str(letter.msg_id), "FINGERPRINT": letter.fingerprint}
        return filled(block.replace(URL, own_platform), {**values, **now})

    return fill_now


@pytest.fixture
def open_shell(tree: Path, memory: Path, tmp_path: Path) -> OpenShell:
    """Return a function that opens a reader's shell, in the clone or in an empty folder."""
    home = tmp_path / "home"
    home.mkdir()
    variables = {
        "HOME": str(home),
        "LOGNAME": "reader",
        "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "SWEEPER_WEB__PORT": "0",
        "TMPDIR": str(memory),
        "TREE": str(tree),
        "XDG_RUNTIME_DIR": str(memory),
    }

    @contextmanager
    def opened(*, in_the_clone: bool, **more: str) -> Iterator[Shell]:
        with shell(tmp_path, tree if in_the_clone else home, {**variables, **more}) as session:
            session.type(STAND_INS)
            yield session

    return opened


@pytest.mark.parametrize("page", HERE, ids=name)
def test_the_blocks_of_a_page_do_what_they_say(
    page: Path, open_shell: OpenShell, fill: Fill, database_url: str
) -> None:
    """They are typed in order, in one shell, and none of their commands fails."""
    given = {"DATABASE_URL": database_url, "SWEEPER_STOCK__TAKEN_AT": "checkout"}
    variables = {} if name(page) in WITHOUT_A_DATABASE else given
    with open_shell(in_the_clone=name(page) == "README.md", **variables) as session:
        for block in blocks(page):
            if block.is_shell and block.runner == "here":
                session.type(fill(block.text), str(block))
