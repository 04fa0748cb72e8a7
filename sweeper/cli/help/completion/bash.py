"""The completion for bash; it needs no bash-completion package."""

from collections.abc import Iterable

from sweeper.cli.help.completion.cases import filled
from sweeper.cli.help.completion.places import Place, spaced

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
    return filled(_SCRIPT, "        {at}) found={words} ;;", " | ", spaced, places)
