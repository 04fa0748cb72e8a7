"""Lists: whatever they hold, the server gets the same array as psycopg would send."""

import pytest
from sqlalchemy import ARRAY, BigInteger, Text, cast, func, select

from sweeper.app import App

TEXTS = [
    [],
    [""],
    ["a", "b"],
    ["null", "NULL", " ", "{", "}", ",", "a b", "ü", "\u2028", "'", "%s", "%"],
    ['"'],
    ['a","b', "c"],
    ["\\", "a"],
    ["\\N", 'x"y'],
    ["a", None],
    [None],
]


@pytest.mark.parametrize("texts", TEXTS, ids=repr)
def test_texts_arrive_as_they_are(app: App, texts: list[str | None]) -> None:
    with app.database.transaction() as tx:
        found = tx.execute(select(cast(texts, ARRAY(Text)))).scalar_one()
        count = tx.execute(select(func.cardinality(cast(texts, ARRAY(Text))))).scalar_one()

    assert (texts, len(texts)) == (found, count)


@pytest.mark.parametrize("numbers", [[], [0], [-1, 2**62, 3], [1, None]], ids=repr)
def test_numbers_arrive_as_they_are(app: App, numbers: list[int | None]) -> None:
    with app.database.transaction() as tx:
        assert numbers == tx.execute(select(cast(numbers, ARRAY(BigInteger)))).scalar_one()
