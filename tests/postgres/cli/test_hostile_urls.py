"""Database URLs with secrets in unusual places: no command shows any part of a secret."""

import pytest

from tests.support.verbs import Run

NOWHERE = "127.0.0.1:1/jastip"
URLS = [
    f"postgresql://sari@{NOWHERE}?password=kelinci@putih",
    f"postgresql://sari@{NOWHERE}?password=kelinci%40putih",
    f"postgresql://sari@{NOWHERE}?password=kelinci+putih",
    f"postgresql://sari:rahasia@{NOWHERE}?sslpassword=kelinci@putih",
    f"postgresql://sari:rahasia@{NOWHERE}?sslpassword=kelinci%40putih&sslmode=require",
    f"postgresql://{NOWHERE}?password=kelinci@putih",
    f"postgresql://sari@{NOWHERE}?kelinci@putih",
    f"postgresql://sari:kelinci@putih@{NOWHERE}",
    f"postgresql://sari:kelinci/putih?x@{NOWHERE}",
    f"postgresql://sari:kelinci%40putih@{NOWHERE}?pgbouncer=true",
    f"postgresql://sari:kelinci%00putih@{NOWHERE}",
    f"postgresql://sari:kelinci%0Aputih@{NOWHERE}",
    "postgresql://sari@127.0.0.1:kelinci-putih/jastip",
    "postgresql:/sari:kelinci@putih/jastip",
    "mysql://sari:kelinci@putih/jastip",
    "host=127.0.0.1 port=1 user=sari password=kelinci@putih",
    "host=127.0.0.1 port=1 password='kelinci putih'",
]
COMMANDS = [
    ("config",),
    ("config", "--json"),
    ("doctor",),
    ("doctor", "--json"),
    ("status",),
    ("sweep", "--json"),
    ("migrate",),
]


def leaks(*texts: str) -> list[str]:
    """Return the parts of the secret that the texts hold."""
    return [word for word in ("kelinci", "putih") if any(word in each for each in texts)]


@pytest.mark.parametrize("url", URLS)
def test_no_command_shows_a_part_of_a_secret(run: Run, url: str) -> None:
    """L11: whichever variable has the URL, and however much is logged (`run`: test_patience)."""
    for command in COMMANDS:
        for name in ("DATABASE_URL", "SWEEPER_DATABASE__URL"):
            code, *texts = run(*command, **{name: url, "SWEEPER_LOG__LEVEL": "debug"})

            assert [] == leaks(*texts), command
            assert code == 0 if command[0] == "config" else code in {69, 78}, command


@pytest.mark.parametrize("url", URLS)
def test_a_migration_shows_no_part_of_the_direct_urls_secret(run: Run, url: str) -> None:
    """L11."""
    code, *texts = run("migrate", DIRECT_URL=url)

    assert ([], True) == (leaks(*texts), code in {69, 78})


@pytest.mark.parametrize(
    "name", ["SWEEPER__DATABASE__URL", "SWEEPER_DATABASE_URL", "SWEEPER_DATABASE"]
)
def test_a_misspelled_variable_is_named_without_its_value(run: Run, name: str) -> None:
    """L11."""
    code, *texts = run("config", **{name: f"postgresql://sari:kelinci-putih@{NOWHERE}"})

    assert (78, []) == (code, leaks(*texts))
