"""The nouns that commands take, RULE or TYPE, and the words that each stands for: from the catalog.

No database and no settings are read; queues have their default name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sweeper.catalog import Catalog
from sweeper.cli.help.pages import Page, Parameter
from sweeper.exports import Listing
from sweeper.job import JobType, Priority
from sweeper.queue.pause import OUTBOUND
from sweeper.queue.pgmq import Queues
from sweeper.queue.read import EVERYTHING
from sweeper.settings import QueueSettings

Words = Mapping[str, str]
"""Words, and what each means."""


def words(parameter: Parameter, catalog: Catalog | None) -> Words:
    """Return what may be typed for *parameter*; nothing where it is not one of a few words."""
    if parameter.choices:
        return dict.fromkeys(parameter.choices, "")
    if catalog is None or parameter.value not in _NOUNS:
        return {}
    return _NOUNS[parameter.value](catalog)


def sections(page: Page, catalog: Catalog | None) -> dict[str, Words]:
    """Return the words for the arguments of *page*, by the headings over them."""
    return {
        _HEADINGS[argument.value]: words(argument, catalog)
        for argument in page.arguments
        if argument.value in _HEADINGS
    }


def _rules(catalog: Catalog) -> Words:
    return {
        name: f"sends {rule.job.name}" + (f": {rule.why}" if rule.why else "")
        for name, rule in catalog.rules.items()
    }


def _types(catalog: Catalog) -> Words:
    return {name: _payload(job) for name, job in catalog.jobs.items()}


def _payload(job: JobType[Any]) -> str:
    fields = job.payload.model_fields.items()
    needed = [job.wire(name) for name, field in fields if field.is_required()]
    return f"takes {', '.join(needed)}" if needed else ""


def _queues(_catalog: Catalog) -> Words:
    queues = Queues(QueueSettings().name)
    named = {queues.by_priority[one]: f"jobs of {one} priority" for one in Priority}
    return named | {queues.outbound: "calls to providers", queues.dead: "dead letters"}


def _live_queues(catalog: Catalog) -> Words:
    queues = Queues(QueueSettings().name)
    return {name: meaning for name, meaning in _queues(catalog).items() if name in queues.live}


def _targets(catalog: Catalog) -> Words:
    others = {OUTBOUND: "the queue of calls to providers", EVERYTHING: "all rules and all queues"}
    return {**_rules(catalog), **_live_queues(catalog), **others}


def _lists(catalog: Catalog) -> Words:
    def meaning(listing: Listing) -> str:
        filters = (f"{name}: {', '.join(values)}" for name, values in listing.choices.items())
        return "; ".join([listing.label, *filters])

    return {name: meaning(listing) for name, listing in catalog.listings.items()}


_NOUNS: Mapping[str, Callable[[Catalog], Words]] = {
    "RULE": _rules,
    "TYPE": _types,
    "QUEUE": _queues,
    "TARGET": _targets,
    "LIST": _lists,
}

_HEADINGS = {
    "RULE": "Rules",
    "TYPE": "Job types",
    "QUEUE": "Queues",
    "TARGET": "Targets",
    "LIST": "Lists",
}
