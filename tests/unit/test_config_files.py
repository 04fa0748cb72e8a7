"""The shipped configuration is complete, equals the defaults and names no unknown setting."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sweeper import catalog, settings
from tests.support.paths import ROOT

CONFIG = ROOT / "config"
TOML = CONFIG / "sweeper.toml"
ENV = CONFIG / "sweeper.env.example"
NO_SETTINGS = ("SWEEPER_CONFIG", "SWEEPER_JOBS")  # they say where settings and jobs come from


@pytest.fixture(autouse=True)
def no_variables_are_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("SWEEPER_") or name in {"DATABASE_URL", "DIRECT_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "absent.toml")


def effective(file: Path | None = None) -> dict[str, Any]:
    loaded = settings.load(catalog.load("jobs"), file=file)
    return {name: value for name, value, _ in loaded.table()}


def names(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from names(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def variables() -> dict[str, str]:
    return dict(re.findall(r"^#?(\w+)=(.*)$", ENV.read_text("utf-8"), re.MULTILINE))


def test_the_shipped_toml_equals_the_defaults() -> None:
    """Contract: --config config/sweeper.toml changes nothing."""
    assert effective() == effective(TOML)


def test_the_shipped_toml_names_every_setting_and_no_other() -> None:
    """Contract: a setting without a default is commented out."""
    whole = re.sub(r"^# (\w+ = )", r"\1", TOML.read_text("utf-8"), flags=re.MULTILINE)
    assert sorted(effective()) == sorted(names(tomllib.loads(whole)))


def test_the_shipped_toml_sets_every_default() -> None:
    """Contract: only a setting without a default is commented out."""
    defaults = [name for name, value in effective().items() if value is not None]
    assert sorted(defaults) == sorted(names(tomllib.loads(TOML.read_text("utf-8"))))


def test_every_setting_has_a_comment() -> None:
    """Contract: each setting has a comment on its own line."""
    bare = re.findall(r"^(?:# )?\w+ = [^#\n]*$", TOML.read_text("utf-8"), re.MULTILINE)
    assert not bare


def test_the_environment_example_names_only_variables_that_exist() -> None:
    """Contract: the platform's two URLs, SWEEPER_CONFIG, and SWEEPER_<SECTION>__<KEY>."""
    known = {"SWEEPER_" + name.replace(".", "__").upper() for name in effective()}
    assert not variables().keys() - known - {"DATABASE_URL", "DIRECT_URL", *NO_SETTINGS}


def test_the_environment_example_names_what_must_be_set() -> None:
    """Contract: the database's URL and when stock is taken have no default."""
    assert {"DATABASE_URL", "SWEEPER_STOCK__TAKEN_AT"} <= variables().keys()


def test_the_environment_example_sets_nothing() -> None:
    """L11: a copied example holds no credential, and changes nothing until it is edited."""
    lines = ENV.read_text("utf-8").splitlines()
    assert not [line for line in lines if line and not line.startswith("#")]


def test_every_value_of_the_environment_example_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract: every example except what is no setting is a valid value of one setting.

    The token's is too short: left as it stands, it would be known to everybody.
    """
    examples = variables() | {"SWEEPER_WEB__TOKEN": "k" * 32}
    for name in NO_SETTINGS:
        del examples[name]
    for name, value in examples.items():
        monkeypatch.setenv(name, value)
    assert len(examples) == len(settings.load(catalog.load("jobs")).origins)
