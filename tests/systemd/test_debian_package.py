"""The Debian package under a real systemd: built, installed, upgraded, removed and purged.

`make test-systemd` runs it. SWEEPER_TEST_DEB names a package that is tested in the place of one
that is built in the container, which is a Debian 12.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests.support.container import ROOT, Container, booted, lacking, wheelhouse
from tests.support.network import network_proxy

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

GIVEN = os.environ.get("SWEEPER_TEST_DEB")
PLATFORM = ROOT / "jobs" / "demo" / "platform.sql"
OFFLINE = "PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels"
BUILD = f"cd /build && {OFFLINE} make -s deb"
DEB = "/build/dist/jastip-sweeper_*.deb"
APT = "DEBIAN_FRONTEND=noninteractive apt-get -y -qq --no-install-recommends"
INSTALL, AGAIN = f"{APT} install {DEB}", f"{APT} install --reinstall {DEB}"
SETTINGS = 's/^# taken_at = .*/taken_at = "checkout"/; s/^port = .*/port = 0/'
LEARNED = (
    "man/man1/sweeper.1.gz",
    "bash-completion/completions/sweeper",
    "zsh/vendor-completions/_sweeper",
    "fish/vendor_completions.d/sweeper.fish",
)
FILES = "find /etc/sweeper -type f -exec md5sum {} + | sort"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """Boot a machine, have the package there, and install it."""
    with booted(brought(tmp_path_factory.mktemp("wheels"))) as machine:
        machine.run("mkdir -p /build/dist && cd /src && cp -r .ci *.* Makefile LICENSE /build")
        machine.run("cd /src && cp -r config docs jobs sweeper systemd /build")
        machine.run("cp /wheels/*.deb /build/dist" if GIVEN else BUILD, seconds=900)
        machine.run(INSTALL, seconds=300)
        yield machine


def brought(folder: Path) -> Path:
    """Fill *folder* with the given package, or with what builds one."""
    if not GIVEN:
        return wheelhouse(folder)
    shutil.copy(GIVEN, folder)
    return folder


@pytest.fixture(scope="module")
def running(machine: Container, admin: psycopg.Connection, server_url: str) -> Iterator[Container]:
    """Configure the installed service as its message says, and start it."""
    admin.execute("create database packaged")
    direct = make_url(server_url).set(database="packaged")
    url = direct.render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(PLATFORM.read_bytes())
    with network_proxy(server_url) as network:
        reached = network.url(url, secrets.token_hex(8))
        machine.run(f"umask 077; echo '{reached}' > /etc/sweeper/credentials/database_url")
        machine.run(f"sed -i '{SETTINGS}' /etc/sweeper/sweeper.toml")
        machine.run("sweeper migrate --install-pgmq --with-indexes")
        machine.run("systemctl enable --now sweeper")
        yield machine
        machine.run("systemctl stop sweeper", check=False)
    admin.execute("drop database packaged with (force)")


def pid(machine: Container) -> str:
    return machine.run("systemctl show --value -p MainPID sweeper").strip()


def test_it_brings_everything_and_starts_nothing(machine: Container) -> None:
    assert "Usage" in machine.run("/usr/bin/sweeper --help")
    assert "disabled" == machine.run("systemctl is-enabled sweeper", check=False).strip()
    assert "inactive" == machine.run("systemctl is-active sweeper", check=False).strip()
    brought = machine.run("dpkg -L jastip-sweeper")
    for place in LEARNED:
        assert f"/usr/share/{place}" in brought.splitlines()
    modes = "stat -c '%a %U' /etc/sweeper/credentials /etc/sweeper/sweeper.toml /opt/sweeper"
    assert ["700 root", "644 root", "755 root"] == machine.run(modes).splitlines()
    assert "" == machine.run("find /opt/sweeper ! -user root -o ! -type l -perm /022")
    assert "" == machine.run("ls /opt/sweeper/bin | grep pip", check=False)


def test_the_units_are_known_and_sound(machine: Container) -> None:
    assert "" == machine.run(
        "systemd-analyze verify sweeper.service sweeper-sweep@expire_dp.service"
    )


def test_the_configured_service_runs_and_doctor_finds_no_error(running: Container) -> None:
    assert "active" == running.run("systemctl is-active sweeper").strip()
    assert "error" not in running.run("sweeper doctor")
    running.run("systemctl start sweeper-sweep@expire_dp")


def test_an_upgrade_keeps_the_settings_and_starts_the_service_again(running: Container) -> None:
    files, before = running.run(FILES), pid(running)

    running.run(AGAIN, seconds=300)

    assert files == running.run(FILES)
    assert "0" != before != pid(running) != "0"
    assert "" == running.run("ls /run/jastip-sweeper.stopped 2>/dev/null", check=False)


def test_an_upgrade_stops_a_service_that_waits_and_lets_it_wait_again(running: Container) -> None:
    """L9: it is no running service to systemd yet, and still a process of the older version."""
    running.run("systemctl stop sweeper; systemctl start --no-block sweeper")
    before = pid(running)

    running.run(AGAIN, seconds=300)

    running.run("until systemctl is-active -q sweeper; do sleep 0.5; done")
    assert "0" != before != pid(running)


def test_an_upgrade_starts_no_service_that_was_stopped(running: Container) -> None:
    running.run("systemctl stop sweeper")

    running.run(AGAIN, seconds=300)

    assert "0" == pid(running)
    running.run("systemctl start sweeper")


def test_make_install_does_not_mix_with_the_package(running: Container) -> None:
    refused = running.attempt(f"cd /build && {OFFLINE} make install")

    assert refused.returncode
    assert "apt remove jastip-sweeper" in refused.stdout


def test_the_package_does_not_mix_with_make_install(running: Container) -> None:
    """It would write through the link into the environment that is in use."""
    running.run(f"{APT} remove jastip-sweeper && mkdir -p /opt/other")
    running.run("ln -s /opt/other /opt/sweeper")

    refused = running.attempt(INSTALL)
    written = running.run("ls /opt/other; rm /opt/sweeper; rmdir /opt/other")

    assert refused.returncode
    assert "sudo make uninstall" in refused.stdout
    assert "" == written
    running.run(INSTALL, seconds=300)


def test_removing_keeps_the_settings_and_a_purge_takes_them(running: Container) -> None:
    """This test must be the last one, because it removes the service."""
    running.run("systemctl start sweeper")
    files = running.run(FILES)

    running.run(f"{APT} remove jastip-sweeper")

    assert files == running.run(FILES)
    assert "inactive" == running.run("systemctl is-active sweeper", check=False).strip()
    found = "find /opt /usr/bin /usr/lib/systemd -name '*sweeper*' 2>/dev/null"
    assert "" == running.run(found, check=False)

    running.run(f"{APT} purge jastip-sweeper")
    left = "find /opt /etc /usr /var/lib/private /var/lib/sweeper -name '*sweeper*' 2>/dev/null"
    assert "" == running.run(left, check=False)
