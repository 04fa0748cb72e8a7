"""What the scripts of bash and zsh have in common: one case for each place in a command line."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from sweeper.cli.help.completion.places import EVERY, Place, Value, quoted

_FILE = "-f"  # stands for the names of files


def filled(
    script: str,
    case: str,
    either: str,
    listed: Callable[[Mapping[str, str]], str],
    places: Iterable[Place],
) -> str:
    """Return *script* with the cases of *places*.

    case   -- the line of one, with {at} for the pattern and {words} for what may stand there
    either -- what stands between two patterns of one case
    listed -- words with their meanings -> a list, as the shell reads it
    """
    lines = "\n".join(
        case.format(at=at, words=words) for at, words in _cases(places, either, listed)
    )
    made = script.replace("@PLACES@", lines)
    return made.replace("@EVERY@", EVERY).replace("@FILE@", _FILE)


def _cases(
    places: Iterable[Place], either: str, listed: Callable[[Mapping[str, str]], str]
) -> Iterator[tuple[str, str]]:
    """Yield the pattern of every place, and what may stand there."""

    def taken(value: Value) -> str:
        return quoted(_FILE) if value.is_file else listed(value.words)

    for place in places:
        if place.commands:
            yield quoted(place.path), listed(place.commands)
        meanings = {name: option.meaning for option in place.options for name in option.names}
        yield quoted(f"{place.path} -"), listed(meanings)
        for option in place.options:
            if option.value:
                at = either.join(quoted(f"{place.path} {name}") for name in option.names)
                yield at, taken(option.value)
        for number, value in place.arguments.items():
            yield quoted(f"{place.path} {number}"), taken(value)
