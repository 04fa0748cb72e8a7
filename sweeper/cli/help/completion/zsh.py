"""The completion for zsh, which also shows what each word means."""

from collections.abc import Iterable, Mapping

from sweeper.cli.help.completion.cases import filled
from sweeper.cli.help.completion.places import Place, quoted

_SCRIPT = r"""#compdef sweeper
# Completion of sweeper for zsh, printed by `sweeper completion zsh`.

# Set `found` to the words that may stand at the place $1; fail where there is no such place.
_sweeper_found() {
    case "$1" in
@PLACES@
        (*) return 1 ;;
    esac
}

_sweeper() {
    local at=sweeper option= word
    local -a found
    integer number=1 i
    for ((i = 2; i < CURRENT; i++)); do
        word=${(Q)words[i]}
        if [[ -n $option ]]; then
            option=
        elif [[ $word == -* ]]; then
            if _sweeper_found "$at $word"; then option=$word; fi
        elif _sweeper_found "$at" && (( ${found[(I)${(b)word}:*]} )); then
            at="$at $word" number=1
        else
            number+=1
        fi
    done
    found=()
    if [[ -z $option && $PREFIX == --*=* ]]; then
        option=${PREFIX%%=*}
        compset -P '*='
    fi
    if [[ -n $option ]]; then
        _sweeper_found "$at $option"
    elif [[ $PREFIX == -* ]]; then
        _sweeper_found "$at -"
    else
        _sweeper_found "$at" || _sweeper_found "$at $number" || _sweeper_found "$at @EVERY@"
    fi
    if [[ $found[1] == @FILE@ ]]; then
        _files
    else
        _describe -t sweeper 'sweeper' found
    fi
}

if [[ $funcstack[1] == _sweeper ]]; then
    _sweeper "$@"
else
    compdef _sweeper sweeper
fi"""


def zsh(places: Iterable[Place]) -> str:
    """Return the script for *places*."""
    return filled(_SCRIPT, "        ({at}) found=({words}) ;;", "|", _described, places)


def _described(words: Mapping[str, str]) -> str:
    """Return words as `_describe` wants them: word:meaning, with the colons of a word escaped."""
    return " ".join(quoted(f"{word.replace(':', chr(92) + ':')}:{m}") for word, m in words.items())
