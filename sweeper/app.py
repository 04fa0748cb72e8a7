"""The composition root: builds the database, queues, scanner, workers and readers from settings."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from sweeper import events
from sweeper import settings as settings_file
from sweeper.admin.indexes import create_indexes
from sweeper.admin.migrate import migrate, notify
from sweeper.admin.preflight import check
from sweeper.admin.pruner import Pruner
from sweeper.catalog import Catalog
from sweeper.job import JobType, Priority
from sweeper.monitoring.acts import ActReader
from sweeper.monitoring.audit import Auditor
from sweeper.monitoring.backlog import BacklogReader
from sweeper.monitoring.explain import Explainer
from sweeper.monitoring.history import HistoryReader
from sweeper.monitoring.status import StatusReader
from sweeper.outbound.worker import OutboundWorker
from sweeper.postgres.clock import now
from sweeper.postgres.database import PLATFORM_SCHEMA, Database, connect, opened
from sweeper.queue.acts import Act, Acts
from sweeper.queue.dead_letters.dead_letter_queue import DeadLetterQueue
from sweeper.queue.enqueue import enqueue, validated
from sweeper.queue.pause import Pauses
from sweeper.queue.pgmq import Queues
from sweeper.retry import Backoff
from sweeper.rule import Rule
from sweeper.settings import Settings
from sweeper.sweep.dry_run import DryRun
from sweeper.sweep.plan import Plan, parse_plan
from sweeper.sweep.runner import Sweep
from sweeper.sweep.scan import Scanner
from sweeper.worker.completer import Completer
from sweeper.worker.drain import Drain
from sweeper.worker.fetcher import Fetcher
from sweeper.worker.lease import GiveBack


class App:
    """The settings and every part that is built from them, each when it is first used."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self.catalog = catalog
        self.settings = settings

    @classmethod
    def load(
        cls, catalog: Catalog, *, file: Path | None = None, flags: Mapping[str, Any] | None = None
    ) -> "App":
        """Load the settings; raises SettingsError that lists all their faults."""
        return cls(catalog, settings_file.load(catalog, file=file, flags=flags))

    @cached_property
    def database(self) -> Database:
        """The platform's database, through the URL that the service uses."""
        return connect(self.settings.database_url, self.settings.database)

    @property
    def platform_schema(self) -> str:
        """The schema of the platform's tables: the URL's, where there is one and it names any."""
        return self.database.schema if self.settings.database.url else PLATFORM_SCHEMA

    def close(self) -> None:
        """Close every database connection."""
        if "database" in vars(self):
            self.database.close()

    @cached_property
    def queues(self) -> Queues:
        """The sweeper's queues in that database."""
        return Queues(self.settings.queue.name, self.settings.horizon)

    @cached_property
    def rules(self) -> dict[str, Rule]:
        """The enabled rules, by name."""
        settings = self.settings.rules
        return {name: one for name, one in self.catalog.rules.items() if settings[name].enabled}

    @property
    def older_than(self) -> dict[str, timedelta]:
        """How old a row must be to be due, by rule name."""
        return {name: rule.older_than for name, rule in self.settings.rules.items()}

    @cached_property
    def scanner(self) -> Scanner:
        """Finds the rows that are due and enqueues jobs for them."""
        return Scanner(
            self.database,
            self.queues,
            self.older_than,
            self.settings.retry.max_retries,
            self.settings.safety.max_clock_skew,
        )

    @cached_property
    def give_back(self) -> GiveBack:
        """Gives back the messages that were read and not handled."""
        return GiveBack(self.database, self.queues)

    @cached_property
    def completer(self) -> Completer:
        """Completes, retries, postpones and dead-letters jobs."""
        retry = self.settings.retry
        return Completer(
            self.database,
            self.queues,
            self.give_back,
            self.settings.sections,
            self._cutoff,
            Backoff(retry.delays, retry.jitter),
            retry.max_retries,
            retry.slow_limit,
        )

    @cached_property
    def fetcher(self) -> Fetcher:
        """Fetches messages and parses them into jobs."""
        skew = self.settings.safety.max_clock_skew
        limit = self.settings.retry.crash_limit
        return Fetcher(self.completer, self.catalog.jobs, limit, skew)

    @property
    def dead_letter_queue(self) -> DeadLetterQueue:
        """Finds, retries and drops dead letters on an operator's request."""
        return DeadLetterQueue(self.database, self.queues, self.catalog.jobs, self.catalog.codes)

    @property
    def pauses(self) -> Pauses:
        """Stops rules and queues for a while, and lets them go on."""
        return Pauses(self.database, self.queues, tuple(self.catalog.rules))

    @property
    def acts(self) -> Acts:
        """Writes down what people do by hand."""
        return Acts(self.database)

    @property
    def act_reader(self) -> ActReader:
        """Reads what people did by hand."""
        return ActReader(self.database)

    @property
    def status_reader(self) -> StatusReader:
        """Reads the numbers that `sweeper status` shows."""
        awake = self.catalog.awake(self.rules)
        return StatusReader(self.database, self.queues, awake, self.older_than)

    @property
    def backlog_reader(self) -> BacklogReader:
        """Reads the single rows and messages behind the status."""
        return BacklogReader(self.database, self.queues, self.catalog, self.rules, self.older_than)

    @property
    def history(self) -> HistoryReader:
        """Reads how things went in the last hour, day or month."""
        return HistoryReader(self.database, self.catalog.awake(self.rules).figures)

    @property
    def explainer(self) -> Explainer:
        """Collects the history of one key."""
        return Explainer(self.database, self.queues, self.catalog, self.rules, self.older_than)

    @property
    def pruner(self) -> Pruner:
        """Deletes ledger rows, and dead letters, that are older than the settings keep them."""
        history = self.settings.history
        return Pruner(self.database, history.keep, self.dead_letter_queue, history.keep_dead)

    @property
    def auditor(self) -> Auditor:
        """Checks from the ledger that every job ended exactly once."""
        return Auditor(self.database, self.queues, self.catalog)

    def plan(self, raw: str) -> Plan:
        """Parse a plan, and check that it may be executed on this database; see `Plan`."""
        plan = parse_plan(raw)
        self.check()
        with self.database.transaction() as tx:
            plan.check(tx, self.catalog, self.settings.safety.max_plan_age)
        return plan

    def drain(self, only: str | None = None) -> Drain:
        """Return a worker for the database lane, or for the messages of the one sweep *only*."""
        queue = self.settings.queue
        return Drain(self.fetcher, queue.visibility, queue.batch, only)

    def outbound(self) -> OutboundWorker:
        """Return a worker for the outbound lane; settings that its jobs lack are logged."""
        for section in self.settings.sections.values():
            for problem in section.faults():
                events.SETTINGS_LACKED.log(section=section.name, problem=problem)
        queue = self.settings.queue
        return OutboundWorker(self.fetcher, queue.visibility, queue.batch)

    def sweep(self, stopping: Callable[[], bool] = lambda: False) -> Sweep:
        """Return a sweep, which ends once *stopping()*; raises where it cannot be run."""
        self.settings.demand()
        self.check()
        catalog, size = self.catalog, self.settings.queue.batch
        dry_run = DryRun(self.scanner, self.fetcher, catalog.effects, size, catalog.codes)
        return Sweep(
            self.scanner, lambda only: (self.drain(only), self.outbound()), dry_run, stopping
        )

    def enqueue(
        self,
        kind: str,
        payload: Any,
        priority: Priority | None = None,
        delay: timedelta = timedelta(),
        act: Act | None = None,
    ) -> tuple[int, str]:
        """Enqueue one job, with the *act* that it is, and return its message id and queue.

        Raises UsageError for an unknown job type, and for a payload that its model rejects.
        """
        job = self.catalog.job(kind)
        payload = validated(job, payload)
        self.check()
        send = partial(enqueue, now=now(), priority=priority, delay=delay, act=act)
        with self.database.transaction() as tx:
            return send(tx, self.queues, job, payload, max_retries=self.settings.retry.max_retries)

    def check(self) -> None:
        """Raise DatabaseUnusableError where the database lacks what the commands need."""
        check(self.database, self.queues, self.catalog)

    def migrate(
        self, *, install_pgmq: bool = False, with_indexes: bool = False, with_notify: bool = False
    ) -> list[str]:
        """Create or upgrade schema and queues, bypassing any pooler; return what was done."""
        with self.direct() as direct:
            done = migrate(direct, self.queues, self.catalog, install=install_pgmq)
            done += create_indexes(direct, self.queues, self.rules.values()) if with_indexes else []
            return done + (notify(direct, self.queues) if with_notify else [])

    def direct(self) -> AbstractContextManager[Database]:
        """Yield the database through the URL that bypasses any pooler, and close it."""
        return opened(self.settings.direct_url, self.settings.database)

    def _cutoff(self, job: JobType[Any], now: datetime) -> datetime:
        names = (name for name, rule in self.catalog.rules.items() if rule.job.name == job.name)
        return now - next((self.older_than[name] for name in names), timedelta())
