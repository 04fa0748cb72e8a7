"""Dead letters: complete, and brought back by a person only."""

from tests.mutants.mutant import Mutant

DRAIN = "tests/postgres/worker/test_drain.py"
QUEUE = "tests/postgres/queue/test_dead_letter_queue.py"
MANY = "tests/postgres/queue/test_many_dead_letters.py"
FOREIGN = "tests/postgres/queue/test_foreign_dead_letters.py"
LETTER = "sweeper/queue/dead_letters/dead_letter.py"
TAKEN = "sweeper/queue/dead_letters/dead_letter_queue.py"
FILTER = "sweeper/queue/dead_letters/dead_letter_filter.py"

MUTANTS = (
    Mutant(
        "a dead letter has no body",
        "L2",
        LETTER,
        "body=job.message.raw,",
        "body=None,",
        f"{QUEUE}::test_a_retried_dead_letter_has_no_retries_and_no_error",
    ),
    Mutant(
        "a dead letter has no error",
        "L2",
        LETTER,
        "        error=short(error),\n        attempts=attempts,",
        '        error="",\n        attempts=attempts,',
        f"{DRAIN}::test_a_rejected_job_is_dead_at_once",
    ),
    Mutant(
        "a malformed message loses its body",
        "L2",
        LETTER,
        "body=malformed.message.raw,",
        "body=None,",
        f"{DRAIN}::test_a_malformed_message_is_dead_lettered_and_blocks_no_other",
    ),
    Mutant(
        "a message that is too large loses its body",
        "L2",
        LETTER,
        'func.jsonb_build_object("body", gone.c.message)',
        'func.jsonb_build_object("body", None)',
        f"{DRAIN}::test_a_message_that_is_too_large_is_dead_lettered_without_being_loaded",
    ),
    Mutant(
        "a dead letter that is retried keeps its count",
        "L5",
        "sweeper/queue/dead_letters/dead_letter_table.py",
        'body.op("-")(told).op("||")(json_object(retryCount=literal(0)))',
        'body.op("-")(told)',
        f"{QUEUE}::test_a_retried_dead_letter_has_no_retries_and_no_error",
    ),
    Mutant(
        "a dead letter that is retried stays dead as well",
        "L1",
        TAKEN,
        "        self.queues.delete(tx, self.queues.dead, locked)\n",
        "",
        "tests/postgres/cli/test_commands.py::test_a_dead_letter_can_be_retried",
    ),
    Mutant(
        "two people retry one dead letter",
        "L1",
        "sweeper/queue/dead_letters/dead_letter_table.py",
        ".with_for_update(skip_locked=True)",
        "",
        f"{MANY}::test_a_letter_that_somebody_else_takes_is_left",
    ),
    Mutant(
        "the ledger does not say that a dead letter was retried",
        "L8",
        TAKEN,
        "record(tx, [letter.ending(letter.msg_id, outcome) for letter in taken], ",
        "record(tx, [], ",
        f"{QUEUE}::test_the_ledger_records_retried_and_dropped_dead_letters",
    ),
    Mutant(
        "an unknown dead letter is ignored in silence",
        "contract",
        "sweeper/queue/dead_letters/dead_letter_filter.py",
        "    if unknown := set(ids) - {msg_id for (msg_id,) in there}:\n",
        "    if unknown := set[int]():\n",
        f"{QUEUE}::test_an_unknown_id_is_refused_and_nothing_changes",
    ),
    Mutant(
        "what dies during a retry is retried with it",
        "contract",
        TAKEN,
        "conditions = (found.c.msg_id <= last, *wanted.conditions(found))",
        "conditions = (found.c.msg_id > 0, *wanted.conditions(found))",
        f"{MANY}::test_a_letter_that_comes_during_a_retry_is_left",
    ),
    Mutant(
        "a purge takes the young dead letters",
        "L2",
        FILTER,
        "found.c.enqueued_at <= moment(self.older)]",
        "found.c.enqueued_at >= moment(self.older)]",
        f"{MANY}::test_dead_letters_of_an_age_are_purged_in_chunks",
    ),
    Mutant(
        "the filter by cause is ignored",
        "L2",
        FILTER,
        "return [*ids, *equal, *key, *died]",
        "return [*ids, *key, *died]",
        f"{QUEUE}::test_dead_letters_are_filtered_by_fingerprint",
    ),
    Mutant(
        "a retried letter goes to a queue that somebody has named",
        "L2",
        TAKEN,
        "return letter.queue if letter.queue in self.queues.live else normal",
        "return letter.queue",
        f"{FOREIGN}::test_a_retried_letter_that_names_no_queue_of_ours_goes_to_the_normal_one",
    ),
    Mutant(
        "a foreign letter is taken for one of ours",
        "L2",
        "sweeper/queue/dead_letters/dead_letter_table.py",
        "is_ours = reason.in_([*DeadReason])",
        "is_ours = reason.is_not(None)",
        f"{FOREIGN}::test_a_foreign_dead_letter_hides_no_other",
    ),
    Mutant(
        "a notice stays failed when its dead letter is retried",
        "L2",
        TAKEN,
        "            reopen(tx, self.types, taken)\n",
        "",
        "tests/domain/test_whatsapp_outcomes.py::test_a_notice_whose_job_is_exhausted_is_failed",
    ),
    Mutant(
        "a flood of alike deaths floods the log",
        "contract",
        "sweeper/worker/completion.py",
        "if len(alike) > _FLOOD:",
        "if False:",
        f"{MANY}::test_a_flood_of_alike_dead_letters_is_one_line",
    ),
    Mutant(
        "errors that differ in ids have many causes",
        "contract",
        LETTER,
        "_VOLATILE.sub('?', error)",
        "error",
        "tests/postgres/queue/test_pgmq.py::test_errors_that_differ_in_ids_have_one_fingerprint",
    ),
)
