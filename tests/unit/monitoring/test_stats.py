"""What a process counts, and how it is spread."""

from sweeper.batch import Tally
from sweeper.monitoring.stats import HANDLING, Histogram, Stats


def test_a_spread_counts_up_to_each_bound_and_beyond() -> None:
    """The bound itself belongs to its bucket, as Prometheus has it."""
    spread = Histogram((1.0, 2.0))
    for seconds, times in ((0.5, 1), (1.0, 2), (1.5, 3), (9.0, 4)):
        spread.add(seconds, times)

    assert ([3, 3, 4], 10, 43.0) == (spread.counts, spread.times, spread.total)


def test_steps_are_counted_in() -> None:
    counters = Stats()
    counters.add(Tally(done=3, skipped=1, retried=2))
    counters.add(Tally(done=1, dead=1, postponed=5))

    assert (5, 3) == (counters.processed, counters.failed)


def test_before_the_first_job_the_average_is_nothing() -> None:
    assert 0.0 == Stats().average_ms


def test_the_average_is_over_all_types() -> None:
    counters = Stats()
    counters.handling = {"A": Histogram(HANDLING), "B": Histogram(HANDLING)}
    counters.handling["A"].add(0.010, 3)
    counters.handling["B"].add(0.050)

    assert 20.0 == round(counters.average_ms, 6)


def test_scans_are_counted_by_rule_and_outcome() -> None:
    counters = Stats()
    for outcome in ("ok", "ok", "failed"):
        counters.scanned("expire_dp", outcome)

    scans, _, _ = counters.copy()
    assert {("expire_dp", "ok"): 2, ("expire_dp", "failed"): 1} == scans
