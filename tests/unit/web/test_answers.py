"""What machines are answered: JSON, whatever a job file's rows hold, and masked."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from sweeper.web.answers import shown


def test_every_value_of_a_row_becomes_json() -> None:
    """L11: what becomes text is masked as well."""
    row = {
        "at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "amount": Decimal("12.50"),
        "id": UUID(int=7),
        "rest": [None, True, 7, 0.5, "0812-3456-7890", (1,)],
    }

    assert {
        "at": "2026-01-31T12:00:00.000Z",
        "amount": "12.50",
        "id": str(UUID(int=7)),
        "rest": [None, True, 7, 0.5, "[phone]", [1]],
    } == json.loads(json.dumps(shown(row)))
