"""`sweeper messages preview`: show the texts of the notices before any is sent."""

import math

import typer

from jobs.whatsapp.settings import WhatsappSettings
from jobs.whatsapp.texts import render_text, texts
from sweeper.cli.output import document, out
from sweeper.cli.session import Json, open_app

COMMANDS = typer.Typer(no_args_is_help=True, rich_help_panel="Set up")

_SAMPLE = {"name": "Sari Wulandari", "orderCode": "JST-ABC123-XY"}
_DOWN_PAYMENT = 50_000


@COMMANDS.callback()
def messages() -> None:
    """Show the texts of the notices.

    Examples:
      sweeper messages preview  # before any is sent
      sweeper messages preview | less  # one screen at a time
    """


@COMMANDS.command()
def preview(context: typer.Context, *, as_json: Json = False) -> None:
    """Show each text with sample data, as its recipient reads it.

    Examples:
      sweeper messages preview  # the texts that are in force here
      sweeper messages preview --json  # for a program
    """
    with open_app(context) as app:
        rules, section = app.settings.rules, app.settings.sections[WhatsappSettings]
        assert isinstance(section, WhatsappSettings)  # noqa: S101 -- narrows what was checked
    previews = []
    for event, variants in texts(section.messages).items():
        for key in variants:
            language, _, refund = key.partition("_")
            limit = rules["expire_dp" if event == "ORDER_CANCELLED" else "auto_refund"].older_than
            facts = _SAMPLE | {
                "dpAmount": _DOWN_PAYMENT if refund else 0,
                "limitSeconds": math.ceil(limit.total_seconds()),
            }
            previews.append((event, key, render_text(event, facts, language, section.messages)))
    if as_json:
        document([{"event": event, "key": key, "text": text} for event, key, text in previews])
        return
    for event, key, text in previews:
        out.print(f"{event}.{key}", style="bold")
        out.print(f"{text}\n", markup=False)
