"""Tokens in the settings: digests of what nobody can guess, and faults that repeat no secret."""

import re
from pathlib import Path

import pytest

from sweeper import catalog, redact, settings
from sweeper.errors import SettingsError
from sweeper.settings import Settings
from sweeper.web import tokens
from sweeper.web.tokens import Scope
from tests.support.verbs import Run

SECRET = tokens.make()


def load(path: Path, *lines: str) -> Settings:
    path.write_text("\n".join(["[web.tokens]", *lines]), "utf-8")
    return settings.load(catalog.load("jobs"), file=path)


def faults(path: Path, *lines: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path, *lines)
    return str(caught.value).splitlines()


def test_each_token_has_its_name_and_scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file, from the environment, and `web.token`, which may act, as ever."""
    monkeypatch.setenv("SWEEPER_WEB__TOKEN", "k" * 32)
    monkeypatch.setenv("SWEEPER_WEB__TOKENS__CI", tokens.line(tokens.make(), Scope.ACT))
    loaded = load(tmp_path / "a.toml", f'grafana = "{tokens.line(SECRET, Scope.READ)}"')

    accepted = {(token.name, token.scope) for token in tokens.accepted(loaded.web)}
    assert {("token", Scope.ACT), ("grafana", Scope.READ), ("ci", Scope.ACT)} == accepted
    assert {"web.tokens.grafana", "web.tokens.ci"} < {name for name, _, _ in loaded.table()}


def test_all_faults_are_told_at_once_and_no_secret_is_repeated(tmp_path: Path) -> None:
    """L11: also not where the token itself stands in the place of its digest."""
    told = faults(
        tmp_path / "a.toml",
        f'mine = "{SECRET}"',
        'short = "act sha256:abc"',
        'scope = "write sha256:' + "a" * 64 + '"',
        'word = "kunci-kunci-kunci-kunci-kunci-kunci"',
        'token = "' + tokens.line(SECRET, Scope.ACT) + '"',
        '"Big One" = "' + tokens.line(SECRET, Scope.ACT) + '"',
        "number = 7",
    )

    assert 7 == len(told)
    assert "known to others by now" in next(line for line in told if "web.tokens.mine" in line)
    assert "the name of web.token" in next(line for line in told if "tokens.token" in line)
    assert SECRET not in "\n".join(told)
    assert "kunci" not in "\n".join(told)


def test_two_names_for_one_token_are_a_fault(tmp_path: Path) -> None:
    """Or taking one of them away would not end it, and nobody could tell who acted."""
    line = tokens.line(SECRET, Scope.ACT)

    (fault,) = faults(tmp_path / "a.toml", f'one = "{line}"', f'two = "{line}"')

    assert "one and two are the same token" in fault


def test_a_made_token_can_neither_be_guessed_nor_logged() -> None:
    """L11: the digest is all that this process knows, so logs know a token by how it looks."""
    made = {tokens.make() for _ in range(100)}

    assert 100 == len(made)
    assert {47} == {len(one) for one in made}
    assert f"given {redact.SECRET}, twice" == redact.text(f"given {SECRET}, twice")


def test_the_command_makes_a_token_and_the_line_for_the_settings(run: Run, tmp_path: Path) -> None:
    code, out, err = run("token", "new", "grafana")
    (secret,) = re.findall(r"^  (swp_\S+)$", out, re.MULTILINE)
    (line,) = re.findall(r"^  (grafana = .*)$", out, re.MULTILINE)

    assert (0, "") == (code, err)
    (token,) = tokens.accepted(load(tmp_path / "a.toml", line).web)
    assert ("grafana", Scope.READ) == (token.name, token.scope)
    assert tokens.digest(secret) == token.digest


@pytest.mark.parametrize("name", ["token", "Grafana", "a b", "", "x" * 41])
def test_the_command_refuses_a_name_that_the_settings_would_refuse(run: Run, name: str) -> None:
    assert 2 == run("token", "new", name)[0]
