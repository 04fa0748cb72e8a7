"""Messages of others: read as they are meant, and never lost."""

from tests.mutants.mutant import Mutant

DRAIN = "tests/postgres/worker/test_drain.py"
OWN = "tests/postgres/worker/test_ownership.py"
STRINGS = "tests/postgres/queue/test_string_bodies.py"
WIRE = "tests/unit/queue/test_wire.py"

MUTANTS = (
    Mutant(
        "a scan does not see a job in a JSON string",
        "L1",
        "sweeper/queue/body.py",
        'return case((func.jsonb_typeof(value) == "string", inner), else_=value)',
        "return value",
        f"{STRINGS}::test_a_string_body_counts_as_already_queued",
    ),
    Mutant(
        "a body that is a JSON string is refused",
        "L2",
        "sweeper/queue/wire.py",
        "body = open_string(None if message.raw is None else json_value(message.raw))",
        "body = None if message.raw is None else json_value(message.raw)",
        "tests/domain/test_expire_dp.py::test_a_body_that_is_a_json_string_is_parsed",
    ),
    Mutant(
        "a scan knows a key by one of its two names only",
        "L1",
        "sweeper/queue/body.py",
        "dict.fromkeys((job.wire(job.key), job.key))",
        "dict.fromkeys((job.wire(job.key),))",
        f"{STRINGS}::test_a_payload_with_the_name_of_the_attribute_counts",
    ),
    Mutant(
        "a NUL in a body reaches Postgres",
        "L2",
        "sweeper/queue/json_text.py",
        "if to_write and _NUL.search(written_back):",
        "if False:",
        f"{WIRE}::test_a_character_that_postgres_cannot_store_is_invalid",
    ),
    Mutant(
        "a number that no JSON can hold is accepted",
        "L2",
        "sweeper/queue/json_text.py",
        "if not math.isfinite(number):",
        "if False:",
        f"{WIRE}::test_a_number_that_cannot_be_encoded_again_is_invalid",
    ),
    Mutant(
        "malformed messages stay in their queue",
        "L2",
        "sweeper/worker/sorter.py",
        "dead.append((message, dead_letter.of_malformed(malformed, now)))",
        "pass",
        f"{DRAIN}::test_a_malformed_message_is_dead_lettered_and_blocks_no_other",
    ),
    Mutant(
        "one message that cannot be settled holds up the others",
        "L2",
        "sweeper/worker/sorter.py",
        "if len(messages) > 1:",
        "if False:",
        f"{DRAIN}::test_a_message_that_cannot_be_sorted_is_a_crash_of_its_own",
    ),
    Mutant(
        "a job is handled in the wrong lane",
        "L12",
        "sweeper/worker/sorter.py",
        "case Job() as job if job.type.lane is not lane:",
        "case Job() as job if not lane:",
        f"{DRAIN}::test_an_outbound_job_in_the_database_lane_is_moved",
    ),
    Mutant(
        "a message that another worker has split is split again",
        "L1",
        "sweeper/worker/sorter.py",
        "len(bodies) if owned else 0",
        "len(bodies)",
        f"{OWN}::test_a_message_that_another_worker_split_is_not_split_again",
    ),
    Mutant(
        "a message that another worker has moved is moved again",
        "L1",
        "sweeper/worker/sorter.py",
        "bodies = [job.body for job in jobs if job.message.msg_id in owned]",
        "bodies = [job.body for job in jobs]",
        f"{OWN}::test_a_message_that_another_worker_moved_is_not_moved_again",
    ),
    Mutant(
        "a message that another worker has dead-lettered dies again",
        "L1",
        "sweeper/worker/completer.py",
        "owned = [pair for pair in loaded if pair[0].msg_id in deleted]",
        "owned = list(loaded)",
        f"{OWN}::test_a_message_that_another_worker_dead_lettered_is_not_dead_lettered_again",
    ),
    Mutant(
        "a message may list any number of keys",
        "L9",
        "sweeper/queue/wire.py",
        "_require(len(keys) <= KEYS, ",
        "_require(len(keys) >= 0, ",
        f"{WIRE}::test_a_message_that_is_too_much_to_split_is_invalid",
    ),
    Mutant(
        "a key may have any length",
        "L9",
        "sweeper/queue/wire.py",
        "if len(parsed.key) > LONGEST_NAME:",
        "if False:",
        "tests/postgres/queue/test_long_names.py::test_a_name_that_is_too_long_is_invalid_at_once",
    ),
    Mutant(
        "an error repeats the refused value",
        "L11",
        "sweeper/queue/wire.py",
        "{fault['msg']}\"\n"
        "        for fault in error.errors(include_url=False, include_input=False,",
        "{fault['input']}\"\n        for fault in error.errors(",
        f"{WIRE}::test_an_error_does_not_repeat_the_refused_values",
    ),
    Mutant(
        "a job by hand ignores its priority",
        "contract",
        "sweeper/queue/pgmq.py",
        "return self.by_priority[priority or job.priority]",
        "return self.by_priority[job.priority]",
        "tests/postgres/cli/test_commands.py::test_enqueue_sends_to_the_queue_of_the_priority",
    ),
    Mutant(
        "a job by hand ignores its delay",
        "contract",
        "sweeper/queue/enqueue.py",
        "queues.send(tx, queue, [body], delay)",
        "queues.send(tx, queue, [body], timedelta())",
        "tests/postgres/cli/test_commands.py::test_enqueue_may_delay_a_message",
    ),
    Mutant(
        "the text of a message is in its repr",
        "L11",
        "sweeper/job.py",
        "raw: str | None = field(repr=False)",
        "raw: str | None = field()",
        "tests/unit/test_batch.py::test_no_text_of_a_message_is_in_a_repr",
    ),
)
