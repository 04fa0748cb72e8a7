"""The counters and histograms of one process."""

from sweeper.batch import Tally
from sweeper.monitoring.stats import HANDLING, Histogram, Stats


def test_a_histogram_counts_values_in_buckets_and_above_the_last_bound() -> None:
    """A value equal to a bound belongs to that bound's bucket, as in Prometheus."""
    histogram = Histogram((1.0, 2.0))
    for seconds, times in ((0.5, 1), (1.0, 2), (1.5, 3), (9.0, 4)):
        histogram.add(seconds, times)

    assert ([3, 3, 4], 10, 43.0) == (histogram.counts, histogram.times, histogram.total)


def test_the_tallies_of_steps_are_added_up() -> None:
    stats = Stats()
    stats.add(Tally(done=3, skipped=1, retried=2))
    stats.add(Tally(done=1, dead=1, postponed=5))

    assert (5, 3) == (stats.processed, stats.failed)


def test_the_average_is_zero_before_the_first_job() -> None:
    assert 0.0 == Stats().average_ms


def test_the_average_covers_all_job_types() -> None:
    stats = Stats()
    stats.handling = {"A": Histogram(HANDLING), "B": Histogram(HANDLING)}
    stats.handling["A"].add(0.010, 3)
    stats.handling["B"].add(0.050)

    assert 20.0 == round(stats.average_ms, 6)


def test_scans_are_counted_by_rule_and_outcome() -> None:
    stats = Stats()
    for outcome in ("ok", "ok", "failed"):
        stats.scanned("expire_dp", outcome)

    scans, _, _ = stats.copy()
    assert {("expire_dp", "ok"): 2, ("expire_dp", "failed"): 1} == scans
