"""The [whatsapp] settings: the providers' credentials, the templates and the operator's texts."""

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.whatsapp.settings import WhatsappSettings, shipped_templates
from jobs.whatsapp.texts import Texts, render_text, texts
from sweeper import catalog, settings
from sweeper.errors import SettingsError
from tests.support.paths import ROOT

CATALOG = catalog.load("jobs")
OWN_TEXTS = """
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


def write(folder: Path, text: str) -> Path:
    path = folder / "messages.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("provider", "missing"),
    [("log", []), ("cloud", ["token", "phone_number_id"]), ("fonnte", ["token"])],
)
def test_a_provider_reports_the_settings_that_it_lacks(provider: str, missing: list[str]) -> None:
    """A missing setting does not stop the service: the notices wait, and none is lost."""
    faults_found = list(section(provider=provider).faults())

    assert [f"whatsapp.{key}" for key in missing] == [fault.split()[0] for fault in faults_found]


def test_a_complete_provider_reports_no_faults() -> None:
    assert [] == list(section(provider="cloud", token="t", phone_number_id="106").faults())  # noqa: S106


def test_the_token_is_masked() -> None:
    """L11: `sweeper config` shows that the token is set, and not its value."""
    table = settings.load(CATALOG, flags={"whatsapp.token": "rahasia"}).table()

    assert "**********" == next(value for name, value, _ in table if name == "whatsapp.token")
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
def test_an_invalid_value_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"whatsapp\.{key.split('.', maxsplit=1)[0]}"):
        section(**{key: value})


def test_changing_one_template_keeps_the_others() -> None:
    own = section(**{"templates.ORDER_MISSED.name": "missed_v2"}).templates

    assert own.keys() == shipped_templates().keys()
    assert ("missed_v2", ("name", "order_code")) == (
        own["ORDER_MISSED"].name,
        own["ORDER_MISSED"].parameters,
    )


def test_the_log_provider_has_no_rate_limit() -> None:
    log, fonnte = section().pace, section(provider="fonnte").pace

    assert (float("inf"), 10.0, 8, timedelta(seconds=10)) == (
        log.rate,
        fonnte.rate,
        fonnte.concurrency,
        fonnte.timeout,
    )


# An operator's own texts.


def test_texts_that_the_operator_does_not_replace_keep_their_default(tmp_path: Path) -> None:
    own = section(messages=str(write(tmp_path, OWN_TEXTS))).messages
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
def test_a_text_that_cannot_be_rendered_is_a_fault(tmp_path: Path, text: str, fault: str) -> None:
    """The fault names the file, the key and the field."""
    path = write(tmp_path, f"[ORDER_MISSED]\nen = {text!r}\n")

    (reported, *_) = faults(path)

    assert reported.startswith(f"whatsapp.messages: {path}: ORDER_MISSED.en {fault}")


def test_a_refund_text_must_contain_the_amount(tmp_path: Path) -> None:
    path = write(tmp_path, "[ORDER_REJECTED]\nid_refund = '{order_code}'\n")

    assert [f"{path}: ORDER_REJECTED.id_refund lacks {{dp_amount}}"] == [
        fault.removeprefix("whatsapp.messages: ").removesuffix(" (command line)")
        for fault in faults(path)
    ]


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "[ORDER_LOST]\nid = 'x'\n[ORDER_MISSED]\nfr = 'x'\nid = 5\nen = '{nama}'\n",
    )

    assert 5 == len(faults(path))


@pytest.mark.parametrize(
    ("text", "why"),
    [(None, "cannot be read"), ("[", "is not valid TOML"), (b"\xff", "is not valid TOML")],
)
def test_a_file_that_cannot_be_parsed_is_a_fault(
    tmp_path: Path, text: str | bytes | None, why: str
) -> None:
    path = tmp_path / "messages.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    assert why in faults(path)[0]


def test_the_texts_that_an_operator_edits_equal_the_declared_ones() -> None:
    """`config/messages.toml` is what `sweeper messages export` writes."""
    config = ROOT / "config" / "messages.toml"

    assert set(texts()) == set(tomllib.loads(config.read_text("utf-8")))
    assert _stripped(texts()) == _stripped(texts(config))


def _stripped(found: Texts) -> dict[str, dict[str, str]]:
    return {
        event: {key: text.strip() for key, text in variants.items()}
        for event, variants in found.items()
    }
