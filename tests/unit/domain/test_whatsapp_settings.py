"""[whatsapp]: what a provider needs, templates one by one, and an operator's own texts."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.whatsapp.settings import TEMPLATES, WhatsappSettings
from jobs.whatsapp.texts import render_text, texts
from sweeper import catalog, settings
from sweeper.errors import SettingsError
from tests.support.paths import ROOT

CATALOG = catalog.load("jobs")
OWN = """
[ORDER_CANCELLED]
id = "Hai {name}, pesanan {order_code} batal."
"""


def section(**flags: Any) -> WhatsappSettings:
    dotted = {f"whatsapp.{name}": value for name, value in flags.items()}
    found = settings.load(CATALOG, flags=dotted).sections[WhatsappSettings]
    assert isinstance(found, WhatsappSettings)
    return found


def faults(path: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        section(messages=str(path))
    assert 78 == caught.value.exit_code
    return str(caught.value).splitlines()


def written(folder: Path, text: str) -> Path:
    path = folder / "messages.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("provider", "lacking"),
    [("log", []), ("cloud", ["token", "phone_number_id"]), ("fonnte", ["token"])],
)
def test_a_provider_says_what_it_lacks(provider: str, lacking: list[str]) -> None:
    """It is no settings error: the notices wait, and none is lost."""
    told = list(section(provider=provider).faults())

    assert [f"whatsapp.{key}" for key in lacking] == [fault.split()[0] for fault in told]


def test_nothing_is_lacking_where_all_is_set() -> None:
    assert [] == list(section(provider="cloud", token="t", phone_number_id="106").faults())  # noqa: S106


def test_the_token_is_masked() -> None:
    """L11: `sweeper config` shows that it is set, and no more."""
    told = settings.load(CATALOG, flags={"whatsapp.token": "rahasia"}).table()

    assert "**********" == next(value for name, value, _ in told if name == "whatsapp.token")
    assert "rahasia" not in repr(section(token="rahasia"))  # noqa: S106


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("provider", "twilio"),
        ("base_url", "graph.facebook.com"),
        ("base_url", "https://graph.facebook.com/"),
        ("phone_number_id", "+62812"),
        ("graph_version", "24"),
        ("mode", "voice"),
        ("language", "fr"),
        ("rate", 0),
        ("concurrency", 0),
        ("timeout", "10"),
        ("templates.ORDER_CANCELLED.name", "Order Cancelled"),
        ("templates.ORDER_CANCELLED.parameters", ["nama"]),
        ("templates.ORDER_CANCELLED.colour", "red"),
    ],
)
def test_nonsense_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"whatsapp\.{key.split('.', maxsplit=1)[0]}"):
        section(**{key: value})


def test_the_other_templates_stay_where_one_is_named() -> None:
    own = section(**{"templates.ORDER_MISSED.name": "missed_v2"}).templates

    assert own.keys() == TEMPLATES.keys()
    assert ("missed_v2", ("name", "order_code")) == (
        own["ORDER_MISSED"].name,
        own["ORDER_MISSED"].parameters,
    )


def test_our_own_log_needs_no_pace() -> None:
    quick, usual = section().pace, section(provider="fonnte").pace

    assert (float("inf"), 10.0, 8, timedelta(seconds=10)) == (
        quick.rate,
        usual.rate,
        usual.concurrency,
        usual.timeout,
    )


# An operator's own texts.


def test_what_an_operator_does_not_say_stays_as_it_is(tmp_path: Path) -> None:
    own = section(messages=str(written(tmp_path, OWN))).messages
    facts = {"name": "Sari", "orderCode": "JST-1"}

    assert "Hai Sari, pesanan JST-1 batal." == render_text("ORDER_CANCELLED", facts, "id", own)
    assert render_text("ORDER_MISSED", facts) == render_text("ORDER_MISSED", facts, "id", own)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{nama}, {order_code}", "uses {nama}, which is not a valid field"),
        ("{}, {order_code}", "uses {}, which is not a valid field"),
        ("{name.__class__} {order_code}", "uses {name.__class__}, which is not a valid field"),
        ("{name!r} {order_code}", "uses {name}, which is not a valid field"),
        ("{name:>999999999} {order_code}", "uses {name}, which is not a valid field"),
        ("Halo {name}", "lacks {order_code}"),
        ("{order_code} {", "is not a valid template"),
        ("{order_code} }", "is not a valid template"),
    ],
)
def test_a_text_that_cannot_be_filled_in_is_a_fault(tmp_path: Path, text: str, fault: str) -> None:
    """Issue: exit 78 naming file, key and field."""
    path = written(tmp_path, f"[ORDER_MISSED]\nen = {text!r}\n")

    (told, *_) = faults(path)

    assert told.startswith(f"whatsapp.messages: {path}: ORDER_MISSED.en {fault}")


def test_a_text_of_money_must_name_it(tmp_path: Path) -> None:
    path = written(tmp_path, "[ORDER_REJECTED]\nid_refund = '{order_code}'\n")

    assert [f"{path}: ORDER_REJECTED.id_refund lacks {{dp_amount}}"] == [
        fault.removeprefix("whatsapp.messages: ").removesuffix(" (command line)")
        for fault in faults(path)
    ]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[ORDER_LOST]\nid = 'x'\n[ORDER_MISSED]\nfr = 'x'\nid = 5\nen = '{nama}'\n",
    )

    assert 5 == len(faults(path))


@pytest.mark.parametrize(
    ("text", "why"),
    [(None, "cannot be read"), ("[", "is not valid TOML"), (b"\xff", "is not valid TOML")],
)
def test_a_file_that_is_none_is_a_fault(tmp_path: Path, text: str | bytes | None, why: str) -> None:
    path = tmp_path / "messages.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    assert why in faults(path)[0]


def test_the_shipped_texts_are_the_ones_an_operator_edits() -> None:
    """One source: what `config/messages.toml` says is what the package reads."""
    config = ROOT / "config" / "messages.toml"

    assert texts() == texts(config)
