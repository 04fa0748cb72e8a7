"""Notices as their job files declare them: what is wrong with one is said when it is loaded."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import literal

from jobs.whatsapp.notice import NOTICE_TYPES, Notice, Template, Variable, faults
from jobs.whatsapp.settings import WhatsappSettings
from jobs.whatsapp.texts import render_text, sample, texts

SHELF = Variable(
    "shelf",
    literal(7),
    lambda number, language: f"{'rak' if language == 'id' else 'shelf'} {number}",
    sample=12,
)
STORED = Notice(
    "PARCEL_STORED",
    rule="storing",
    limit=timedelta(hours=1),
    texts={
        "id": "Halo {name}: {order_code}, {shelf}.",
        "en": "Hello {name}: {order_code}, {shelf}.",
    },
    template=Template(name="parcel_stored", parameters=("name", "shelf")),
    variables=(SHELF,),
)


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a job file have declared the notice."""
    monkeypatch.setattr(NOTICE_TYPES, "values", {**NOTICE_TYPES.values, STORED.name: STORED})


def test_a_notice_may_give_variables_of_its_own() -> None:
    assert [] == list(faults(STORED))


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize(("language", "shelf"), [("id", "rak 3"), ("en", "shelf 3")])
def test_a_variable_is_shown_as_its_job_file_says(language: str, shelf: str) -> None:
    facts = {"name": "Sari", "orderCode": "JST-1", "shelf": 3}

    assert f": JST-1, {shelf}." in render_text(STORED.name, facts, language)
    assert "rak 12" in render_text(STORED.name, sample(STORED, "id", STORED.limit))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"texts": {"id": "{order_code}"}}, "has no text 'en'"),
        ({"texts": {}}, "has no text 'id'"),
        ({"texts": {"id": "{order_code} {rak}", "en": "{order_code}"}}, "id uses {rak}, which is"),
        ({"texts": {"id": "{order_code}", "en": "Hello"}}, "en lacks {order_code}"),
        ({"texts": {"id": "{order_code", "en": "{order_code}"}}, "id is not a valid template"),
        (
            {"texts": {**STORED.texts, "id_refund": "{order_code} {dp_amount}"}},
            "has a text 'id_refund', which has no template",
        ),
        ({"refund_template": Template(name="refunded")}, "has no text 'id_refund'"),
        (
            {"template": Template(name="stored", parameters=("colour",))},
            "template stored uses colour, which the notice does not give",
        ),
        ({"name": "parcel stored"}, "has a name that is not of capitals"),
        ({"variables": (replace(SHELF, name="nonce"),)}, "has a variable 'nonce': the name is"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_wrong_with_a_notice_is_said(changes: dict[str, Any], fault: str) -> None:
    """Nothing starts with an event that has no text or no template, or with a broken one."""
    assert any(told.startswith(fault) for told in faults(replace(STORED, **changes)))


@pytest.mark.usefixtures("declared")
def test_settings_know_the_templates_that_are_declared() -> None:
    shipped = WhatsappSettings().templates

    assert ("parcel_stored", ("name", "shelf")) == (
        shipped[STORED.name].name,
        shipped[STORED.name].parameters,
    )
    assert STORED.name in texts()


@pytest.mark.usefixtures("declared")
def test_a_template_of_the_settings_takes_no_variable_of_another_notice() -> None:
    own = {STORED.name: {"parameters": ["shelf"]}, "ORDER_MISSED": {"parameters": ["shelf"]}}

    with pytest.raises(ValueError, match="ORDER_MISSED uses shelf; the fields are name, order_c"):
        WhatsappSettings.model_validate({"templates": own})
