"""`sweeper messages`: show the texts of the notices before any is sent, and write them to edit."""

import typer

from jobs.whatsapp.notice import NOTICE_TYPES
from jobs.whatsapp.settings import WhatsappSettings
from jobs.whatsapp.texts import render_text, sample, texts
from sweeper.cli.output import document, line, out
from sweeper.cli.session import Json, open_app

COMMANDS = typer.Typer(no_args_is_help=True, rich_help_panel="Set up")

_HEAD = """\
# The texts of the notices, as `sweeper messages export` writes them. Fields: {name}, {order_code},
# {dp_amount}, {limit}. `id` is Indonesian, `en` English; the _refund variant is used where a down
# payment is owed back. Keep what you change, and leave out the rest: it stays as it is shipped."""


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
        notice = NOTICE_TYPES.values[event]
        limit = rules[notice.rule].older_than if notice.rule in rules else notice.limit
        for key in variants:
            language, facts = key.partition("_")[0], sample(notice, key, limit)
            previews.append((event, key, render_text(event, facts, language, section.messages)))
    if as_json:
        document([{"event": event, "key": key, "text": text} for event, key, text in previews])
        return
    for event, key, text in previews:
        out.print(f"{event}.{key}", style="bold")
        out.print(f"{text}\n", markup=False)


@COMMANDS.command()
def export(context: typer.Context) -> None:
    """Write all texts as TOML, for a file of your own.

    The setting whatsapp.messages is the path of that file.

    Examples:
      sweeper messages export > texts.toml  # change what you like, leave out the rest
      sweeper messages export | less  # every text, with its fields
    """
    with open_app(context) as app:
        section = app.settings.sections[WhatsappSettings]
        assert isinstance(section, WhatsappSettings)  # noqa: S101 -- narrows what was checked
    parts = [_HEAD]
    for event, variants in texts(section.messages).items():
        own = [variable.name for variable in NOTICE_TYPES.values[event].variables]
        more = f"  # also: {', '.join(f'{{{name}}}' for name in own)}" if own else ""
        parts.append(f"\n[{event}]{more}")
        parts += [f'{key} = """\n{_escaped(text.strip())}\n"""' for key, text in variants.items()]
    line("\n".join(parts))


def _escaped(text: str) -> str:
    """Return *text* as it stands in a multi-line string of TOML."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
