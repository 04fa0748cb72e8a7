"""The completion for bash; it needs no bash-completion package."""

from collections.abc import Iterable, Iterator

from sweeper.cli.help.completion.places import EVERY, Place, Value, quoted, spaced

_FILE = "-f"  # stands for the names of files

_SCRIPT = r"""# Completion of sweeper for bash, printed by `sweeper completion bash`.

# Set `found` to the words that may stand at the place $1; fail where there is no such place.
_sweeper_found() {
    case "$1" in
@PLACES@
        *) return 1 ;;
    esac
}

_sweeper() {
    local at=sweeper number=1 option= found= word i current="${COMP_WORDS[COMP_CWORD]}"
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${COMP_WORDS[i]}"
        if [[ -n $option ]]; then
            [[ $word == = ]] || option=
        elif [[ $word == -* ]]; then
            _sweeper_found "$at $word" && option="$word"
        elif _sweeper_found "$at" && [[ " $found " == *" $word "* ]]; then
            at="$at $word" number=1
        else
            ((number++))
        fi
    done
    [[ $current != = ]] || current=
    found=
    if [[ -n $option ]]; then
        _sweeper_found "$at $option"
    elif [[ $current == -* ]]; then
        _sweeper_found "$at -"
    else
        _sweeper_found "$at" || _sweeper_found "$at $number" || _sweeper_found "$at @EVERY@"
    fi
    if [[ $found == @FILE@ ]]; then
        compopt -o filenames 2> /dev/null
        COMPREPLY=($(compgen -f -- "$current"))
    else
        COMPREPLY=($(compgen -W "$found" -- "$current"))
    fi
}

complete -F _sweeper sweeper"""


def bash(places: Iterable[Place]) -> str:
    """Return the script for *places*."""
    lines = "\n".join(f"        {at}) found={words} ;;" for at, words in _cases(places))
    made = _SCRIPT.replace("@PLACES@", lines)
    return made.replace("@EVERY@", EVERY).replace("@FILE@", _FILE)


def _cases(places: Iterable[Place]) -> Iterator[tuple[str, str]]:
    """Yield every place, and what may stand there, both as bash reads them."""
    for place in places:
        if place.commands:
            yield quoted(place.path), spaced(place.commands)
        names = [name for option in place.options for name in option.names]
        yield quoted(f"{place.path} -"), spaced(names)
        for option in place.options:
            if option.value:
                at = " | ".join(quoted(f"{place.path} {name}") for name in option.names)
                yield at, _words(option.value)
        for number, value in place.arguments.items():
            yield quoted(f"{place.path} {number}"), _words(value)


def _words(value: Value) -> str:
    return quoted(_FILE) if value.is_file else spaced(value.words)
