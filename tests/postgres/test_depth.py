"""What is read, worked and pruned at depth costs what it is about, whatever statistics say."""

from sqlalchemy import Connection

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.sweep.scan import ScanResult
from tests.support.depth import rows_read
from tests.support.verbs import HOUR, Run, scan


def test_anomalies_are_counted_to_a_thousand(
    app: App, shop: Shop, connection: Connection, run: Run
) -> None:
    """The scan reads no more of them; a thousand stands for as many or more."""
    app.migrate(with_indexes=True)
    shop.many(20_000, age=HOUR, paid_ago=HOUR)
    found: list[ScanResult] = []

    read = rows_read(connection, app, lambda: found.append(scan(app)))

    assert [1_000] == [one.anomalies for one in found]
    assert read["Order"] < 25_000, "the due rows are looked for among them, once"
    assert 1_000 == app.status_reader.read().rules["expire_dp"].anomalies
    assert "1,000 or more" in run("status")[1]
