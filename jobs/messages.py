"""`sweeper messages preview`: the texts as they are read, before anybody gets one."""

import typer

from jobs.whatsapp.settings import WhatsappSettings
from jobs.whatsapp.texts import render_text, texts
from sweeper.cli.output import document, out
from sweeper.cli.session import Json, open_app

COMMANDS = typer.Typer(help="Look at the texts of the notices.", no_args_is_help=True)

_SAMPLE = {"name": "Sari Wulandari", "orderCode": "JST-ABC123-XY"}
_OWED = 50_000


@COMMANDS.callback()
def messages() -> None:
    """Look at the texts of the notices."""


@COMMANDS.command()
def preview(context: typer.Context, *, as_json: Json = False) -> None:
    """Show each text with sample data, as whoever gets it reads it."""
    with open_app(context) as app:
        section = app.settings.sections[WhatsappSettings]
        assert isinstance(section, WhatsappSettings)  # noqa: S101 -- narrows what was checked
    shown = []
    for event, variants in texts(section.messages).items():
        for key in variants:
            language, _, refund = key.partition("_")
            facts = _SAMPLE | {"dpAmount": _OWED if refund else 0}
            shown.append((event, key, render_text(event, facts, language, section.messages)))
    if as_json:
        document([{"event": event, "key": key, "text": text} for event, key, text in shown])
        return
    for event, key, text in shown:
        out.print(f"{event}.{key}", style="bold")
        out.print(f"{text}\n", markup=False)
