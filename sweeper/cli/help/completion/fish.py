"""The completion for fish, which also shows what each word means."""

from collections.abc import Iterable, Iterator, Mapping

from sweeper.cli.help.completion.places import EVERY, Option, Place, Value

_SCRIPT = r"""# Completion of sweeper for fish, printed by `sweeper completion fish`.

# Print the command that is typed so far, and the number of the argument that comes next.
function __sweeper_place
    set -l at sweeper
    set -l number 1
    set -l option
    for word in (commandline -opc)[2..-1]
        if set -q option[1]
            set -e option
            continue
        end
        switch "$at $word"
            case @COMMANDS@
                set at "$at $word"
                set number 1
            case @VALUES@
                set option $word
            case '* -*'
            case '*'
                set number (math $number + 1)
        end
    end
    echo $at $number
end

# Whether what is typed is the command $argv[1], and the argument $argv[2], if that is given.
function __sweeper_at
    set -l place (__sweeper_place)
    if not set -q argv[2]
        string match -qr -- "^$argv[1] [0-9]+\$" "$place"
    else if test $argv[2] = @EVERY@
        string match -qr -- "^$argv[1] [0-9]+\$" "$place"
    else
        test "$argv[1] $argv[2]" = "$place"
    end
end

complete -c sweeper -f
@LINES@"""


def fish(places: Iterable[Place]) -> str:
    """Return the script for *places*."""
    places = list(places)
    commands = [f"{place.path} {name}" for place in places for name in place.commands]
    values = [
        f"{place.path} {name}"
        for place in places
        for option in place.options
        if option.value
        for name in option.names
    ]
    made = _SCRIPT.replace("@COMMANDS@", " ".join(map(_quoted, commands)))
    made = made.replace("@VALUES@", " ".join(map(_quoted, values))).replace("@EVERY@", EVERY)
    return made.replace("@LINES@", "\n".join(line for place in places for line in _lines(place)))


def _lines(place: Place) -> Iterator[str]:
    """Yield a line for each word and option that may stand at *place*."""
    for command, meaning in place.commands.items():
        yield f"{_at(place.path)} -a {command} -d {_quoted(meaning)}"
    for option in place.options:
        yield f"{_at(place.path)} {_option(option)} -d {_quoted(option.meaning)}"
    for number, value in place.arguments.items():
        yield from (f"{_at(place.path, number)} {taken}" for taken in _argument(value))


def _at(path: str, number: str = "") -> str:
    condition = f"__sweeper_at {_quoted(path)} {number}".strip()
    return f"complete -c sweeper -n {_quoted(condition)}"


def _option(option: Option) -> str:
    names = [f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names]
    if option.value is None:
        return " ".join(names)
    if option.value.is_file:
        return " ".join([*names, "-r -F"])
    words = option.value.words
    return " ".join([*names, "-x", *([f"-a {_listed(words)}"] if words else [])])


def _argument(value: Value) -> Iterator[str]:
    if value.is_file:
        yield "-F"
    elif value.words:
        yield f"-a {_listed(value.words)}"


def _listed(words: Mapping[str, str]) -> str:
    r"""Return words as fish wants them: one a line, a tab, and the meaning."""
    lines = [f"{word}\\t{_inner(meaning)}" if meaning else word for word, meaning in words.items()]
    return _quoted(" ".join(lines))


def _inner(meaning: str) -> str:
    """Return a meaning for the inside of a list, which fish reads a second time."""
    return _quoted(meaning)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
