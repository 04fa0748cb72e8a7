"""Crashes and leases: what is counted, and what is given back."""

from tests.mutants.mutant import Mutant

DRAIN = "tests/postgres/worker/test_drain.py"
LEASE = "tests/postgres/worker/test_lease.py"
BACK = "tests/postgres/worker/test_give_back.py"
LOST = "tests/postgres/worker/test_lost_read.py"
ALONE = "tests/postgres/worker/test_isolation.py"
PGMQ = "tests/postgres/queue/test_pgmq.py"
FETCHER = "sweeper/worker/fetcher.py"

MUTANTS = (
    Mutant(
        "crashes are not counted",
        "L5",
        "sweeper/job.py",
        "return max(0, self.read_ct - 1)",
        "return 0",
        f"{DRAIN}::test_a_message_that_crashed_five_workers_is_dead_lettered",
    ),
    Mutant(
        "a message has one crash too many",
        "L5",
        "sweeper/worker/sorter.py",
        "return message.crashes >= self.crash_limit",
        "return message.crashes > self.crash_limit",
        f"{DRAIN}::test_a_message_that_crashed_five_workers_is_dead_lettered",
    ),
    Mutant(
        "a message that is given back counts as crashed",
        "L5",
        "sweeper/queue/pgmq.py",
        "read_ct=table.c.read_ct - 1",
        "read_ct=table.c.read_ct",
        f"{DRAIN}::test_a_stopping_worker_gives_back_the_jobs_that_it_has_not_started",
    ),
    Mutant(
        "a message that another worker has read is given back",
        "L1",
        "sweeper/queue/pgmq.py",
        ".where(table.c.msg_id == held.c.msg_id, table.c.read_ct == held.c.read_ct)",
        ".where(table.c.msg_id == held.c.msg_id)",
        f"{PGMQ}::test_a_message_that_another_worker_has_read_is_not_postponed",
    ),
    Mutant(
        "leases are not renewed",
        "L5",
        "sweeper/worker/lease.py",
        "self._over.wait(self._length.total_seconds() / 3)",
        "self._over.wait(self._length.total_seconds() * 3)",
        f"{LEASE}::test_waiting_messages_are_renewed_and_messages_being_completed_are_not",
    ),
    Mutant(
        "messages in an open transaction are renewed too",
        "L9",
        "sweeper/worker/lease.py",
        " if left.msg_id not in self._busy]",
        "]",
        f"{LEASE}::test_waiting_messages_are_renewed_and_messages_being_completed_are_not",
    ),
    Mutant(
        "the clocks are not compared at a read",
        "L4",
        FETCHER,
        "clock.agree(before, messages[0].read_at, clock.now(), self.max_skew)",
        "pass",
        "tests/postgres/sweep/test_scan.py"
        "::test_no_message_is_worked_while_the_clocks_differ_too_much",
    ),
    Mutant(
        "what was read with a skewed clock stays leased",
        "L5",
        FETCHER,
        "            self.give_back.give_back(messages, PAUSE)\n            raise",
        "            raise",
        "tests/postgres/worker/test_ownership.py"
        "::test_messages_that_were_read_with_a_skewed_clock_are_given_back",
    ),
    Mutant(
        "a suspect is begun together with others",
        "L5",
        "sweeper/worker/isolation.py",
        "if worst == 0:",
        "if True:",
        f"{DRAIN}::test_a_suspected_poison_message_is_worked_alone",
    ),
    Mutant(
        "a suspect does not wait to be alone",
        "L5",
        FETCHER,
        "may_begin = not suspected or (not busy and self.isolation.alone())",
        "may_begin = True",
        f"{ALONE}::test_a_suspect_is_begun_once_all_other_threads_have_ended_their_steps",
    ),
    Mutant(
        "another thread begins beside a suspect",
        "L5",
        "sweeper/worker/isolation.py",
        "admitted = self._alone in {None, me}",
        "admitted = True",
        f"{ALONE}::test_nothing_is_begun_while_a_suspect_is_handled",
    ),
    Mutant(
        "what cannot be given back is forgotten",
        "L5",
        "sweeper/worker/lease.py",
        "                self._owed = owed | self._owed\n                self._in_doubt",
        "                self._in_doubt",
        f"{LEASE}::test_messages_not_given_back_in_an_outage_are_given_back_before_the_next_read",
    ),
    Mutant(
        "a read whose answer was lost stays counted",
        "L5",
        "sweeper/worker/lease.py",
        "        self.reads.undo()\n",
        "",
        f"{LOST}::test_a_lost_read_is_given_back_before_the_next_one",
    ),
    Mutant(
        "undoing a lost read takes what another worker has read",
        "L1",
        "sweeper/queue/lost_read.py",
        "xmin = cast(cast(:xid as xid8) as xid)",
        "cast(:xid as xid8) is not null",
        f"{LOST}::test_what_another_worker_reads_at_the_same_moment_is_left_alone",
    ),
    Mutant(
        "a lost read may be committed after it was given up",
        "L5",
        "sweeper/queue/read.py",
        "case when mark.number < excluded.number then excluded.xid end",
        "excluded.xid",
        f"{LOST}::test_a_read_that_arrives_after_it_was_given_up_takes_nothing",
    ),
    Mutant(
        "a read that is under way is taken for one that never was",
        "L5",
        "sweeper/worker/lost_reads.py",
        "self._put(lost.pop(), lost=True)\n",
        "self._put(lost.pop(), lost=False)\n",
        f"{LOST}::test_a_read_that_is_still_under_way_is_asked_for_again",
    ),
    Mutant(
        "an empty read writes a row",
        "L10",
        "sweeper/queue/read.py",
        'queue,"\n    " min(vt), max(vt) from ({found}) as message group by queue"',
        '\'\',"\n    " now(), now() from (select 1) as message"',
        f"{LOST}::test_an_empty_read_writes_nothing",
    ),
    Mutant(
        "two reads of one process share a mark",
        "L5",
        "sweeper/worker/lost_reads.py",
        "mark = self._free.pop() if self._free else ReadMark()",
        "mark = self._free[-1] if self._free else ReadMark()",
        f"{LOST}::test_two_reads_at_once_have_a_mark_each",
    ),
    Mutant(
        "what was given back is given back again",
        "L1",
        "sweeper/worker/lease.py",
        "owed, self._owed = self._owed, {}",
        "owed = self._owed",
        f"{BACK}::test_what_was_given_back_is_not_given_back_again",
    ),
    Mutant(
        "what could not be given back loses its delay",
        "L5",
        "sweeper/worker/lease.py",
        "        with self._lock:\n            self._owed = owed | self._owed\n\n\nclass Lease:",
        "        with self._lock:\n            self._owed |= owed\n\n\nclass Lease:",
        f"{BACK}::test_what_could_not_be_given_back_keeps_its_delay_after_the_error",
    ),
    Mutant(
        "an error of a drainer leaves messages leased",
        "L5",
        "sweeper/worker/drain.py",
        "                give_back.after_error(lease.left)\n",
        "",
        f"{BACK}::test_any_error_of_a_drainer_gives_back_what_is_left",
    ),
    Mutant(
        "an error of the outbound worker leaves messages leased",
        "L5",
        "sweeper/outbound/worker.py",
        "                self.fetcher.give_back.after_error(not_called)\n",
        "",
        f"{BACK}::test_any_error_of_the_outbound_worker_gives_back_what_has_no_call",
    ),
    Mutant(
        "a worker begins what another thread still holds",
        "L5",
        FETCHER,
        "if overdue and (held := self.leases.held(messages)):",
        "if False:",
        "tests/postgres/worker/test_postponed.py"
        "::test_what_another_drainer_still_holds_is_left_to_it",
    ),
    Mutant(
        "a forged count of reads blocks its queue",
        "L2",
        FETCHER,
        "if not is_out_of_range(error):",
        "if True:",
        "tests/postgres/admin/test_insert_only_role.py"
        "::test_a_count_of_reads_that_cannot_be_counted_further_blocks_no_queue",
    ),
    Mutant(
        "a read loads bodies of any size",
        "L9",
        "sweeper/queue/read.py",
        "case when size <= :body and before < :bytes then raw end as raw",
        "case when :body > 0 then raw end as raw",
        f"{DRAIN}::test_a_message_that_is_too_large_is_dead_lettered_without_being_loaded",
    ),
)
