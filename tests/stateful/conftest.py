"""The machine, on one database for all its histories."""

import os
from collections.abc import Iterator

import psycopg
import pytest
import structlog
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from sweeper.postgres import clock
from tests.stateful.machine import Machine
from tests.stateful.past import HostClock
from tests.stateful.world import World
from tests.support.fake_provider import provider


@pytest.fixture(scope="session")
def world(server_url: str, admin: psycopg.Connection, template: str) -> Iterator[World]:
    """Create a world, whose database is emptied for each history."""
    name = f"sweeper_machine_{os.getpid()}"
    of = SQL("create database {} template {}").format(Identifier(name), Identifier(template))
    admin.execute(of)
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with provider("fonnte") as fake:
        world = World(url, fake)
        yield world
        world.close()
    admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture
def machine(world: World, monkeypatch: pytest.MonkeyPatch) -> type[Machine]:
    """Return the machine's class; each history begins with an empty database."""
    monkeypatch.setattr(clock, "datetime", HostClock)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # thousands of lines
    return type("Machine", (Machine,), {"world": world})
