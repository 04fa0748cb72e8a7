"""Stock and refunds: given back once, and to nobody else."""

from tests.mutants.mutant import Mutant

STOCK = "tests/domain/test_stock.py"
RELEASE = "tests/domain/test_release_stock.py"
REFUNDS = "tests/domain/test_refunds.py"
COMMAND = "tests/domain/test_refunds_command.py"
CODES = "tests/domain/test_order_codes.py"

MUTANTS = (
    Mutant(
        "the ledger of releases lets stock be returned twice",
        "L1",
        "jobs/stock.py",
        ".on_conflict_do_nothing()",
        '.on_conflict_do_update(index_elements=["order_id", "product_id"], set_={"at": batch.now})',
        f"{STOCK}::test_stock_is_returned_only_once",
    ),
    Mutant(
        "products without a limit get stock",
        "L1",
        "jobs/stock.py",
        "~PRODUCT.c.isUnlimitedStock, ",
        "",
        f"{STOCK}::test_products_without_limited_stock_are_not_changed",
    ),
    Mutant(
        "products are locked in no order",
        "L1",
        "jobs/stock.py",
        "in_(select(lines.c.product_id)), _limited())\n        .order_by(PRODUCT.c.id)\n",
        "in_(select(lines.c.product_id)), _limited())\n        .order_by(PRODUCT.c.id.desc())\n",
        f"{STOCK}::test_products_are_locked_in_the_order_of_their_ids",
    ),
    Mutant(
        "products of orders and of messages are locked apart",
        "L1",
        "jobs/release_stock.py",
        "if ended and quantities:",
        "if False:",
        f"{RELEASE}::test_products_of_orders_and_of_messages_are_locked_in_one_order",
    ),
    Mutant(
        "stock is returned that was never taken",
        "L1",
        "jobs/stock.py",
        "return ORDER.c.dpPaidAt.is_not(None)",
        "return true()",
        f"{STOCK}::test_stock_is_returned_only_if_it_was_taken",
    ),
    Mutant(
        "an order with items returns its own product too",
        "L1",
        "jobs/stock.py",
        "ORDER.c.productId.is_not(None), ~has_items",
        "ORDER.c.productId.is_not(None)",
        f"{STOCK}::test_an_order_with_items_returns_only_its_items",
    ),
    Mutant(
        "an active order returns its stock on request",
        "L3",
        "jobs/release_stock.py",
        '            ORDER.c.status.in_(["cancelled", "rejected"]),\n',
        "",
        f"{RELEASE}::test_an_active_order_keeps_its_stock",
    ),
    Mutant(
        "the rows of products are locked before the rest of the work",
        "L5",
        "jobs/stock.py",
        "batch.run_last(*releasing(batch, order_ids))",
        "batch.run(*releasing(batch, order_ids))",
        "tests/postgres/test_round_trips.py"
        "::test_the_statement_that_locks_products_is_the_last_before_the_commit",
    ),
    Mutant(
        "a refund that was settled is owed again",
        "L1",
        "jobs/refund_ledger.py",
        "from_select(names, refunds).on_conflict_do_nothing()",
        'from_select(names, refunds).on_conflict_do_update(index_elements=["order_id"],'
        ' set_={"state": "due"})',
        f"{REFUNDS}::test_a_settled_refund_stays_settled",
    ),
    Mutant(
        "nothing paid is owed back as a refund",
        "L1",
        "jobs/refund_ledger.py",
        ", ORDER.c.dpAmount > 0)",
        ")",
        f"{REFUNDS}::test_an_order_without_a_down_payment_has_no_refund",
    ),
    Mutant(
        "a rejected order has no refund",
        "L1",
        "jobs/auto_refund.py",
        "    record_refunds(batch, rejected)\n",
        "",
        f"{REFUNDS}::test_the_down_payment_of_a_rejected_order_is_recorded_as_due",
    ),
    Mutant(
        "a refund is settled twice with two references",
        "L1",
        "jobs/refund_ledger.py",
        "if row.reference != reference:",
        "if False:",
        f"{COMMAND}::test_settling_again_with_another_reference_is_an_error",
    ),
    Mutant(
        "two people settle one refund at the same time",
        "L1",
        "jobs/refund_ledger.py",
        "refund.with_for_update()",
        "refund",
        f"{REFUNDS}::test_of_two_people_who_settle_a_refund_at_once_only_one_has_paid",
    ),
    Mutant(
        "a code of two orders settles the refund of one",
        "L1",
        "sweeper/codes.py",
        "if len(keys) > 1:",
        "if False:",
        f"{CODES}::test_a_refund_is_not_settled_by_a_code_of_two_orders",
    ),
    Mutant(
        "a code wins over another order's id",
        "L1",
        "sweeper/codes.py",
        "case((key == typed, 0), (key == exact, 1), *ranks)",
        "case(*ranks, else_=9)",
        f"{CODES}::test_an_id_wins_over_another_order_s_code",
    ),
    Mutant(
        "a refund is settled without a reference",
        "contract",
        "jobs/refund_ledger.py",
        "if not reference.strip():",
        "if False:",
        f"{COMMAND}::test_a_blank_reference_is_an_error",
    ),
    Mutant(
        "refunds show whole phone numbers",
        "L11",
        "jobs/refunds.py",
        'mask(refund["buyer_phone"] or "")',
        'refund["buyer_phone"]',
        f"{COMMAND}::test_no_command_prints_a_full_phone",
    ),
)
