/* How sweepers share one queue: every step of the protocol, in every order, with every fault.
 *
 * A step is one statement that commits alone, a statement in an open transaction, or a commit. What a
 * transaction has not committed is not in the database's variables, so a rollback only frees locks.
 * Where a thread stands is data (at[t]), so that a kill can come at any point.
 * README.md says which code each step stands for, what the properties mean, and what is left out.
 */

#ifndef ORDERS
#define ORDERS 2
#endif
#ifndef COPIES    /* messages that there may be about one order: 2 if the platform sends some, too */
#define COPIES 1
#endif
#ifndef THREADS   /* threads 0 and 1 are one process, 2 (and 3) another */
#define THREADS 3
#endif
#ifndef KILLS     /* how often a process is killed from outside */
#define KILLS 0
#endif
#ifndef STOPS     /* how often a process is asked to stop; another one follows */
#define STOPS 0
#endif
#ifndef EXPIRIES  /* how often a lease runs out although its worker lives */
#define EXPIRIES 0
#endif
#ifndef TROUBLES  /* how often the connection is lost, with the commit or only with its answer */
#define TROUBLES 0
#endif
#ifndef FAULTY    /* the handler may raise for the orders below this */
#define FAULTY 0
#endif
#ifndef POISONS   /* the orders below this kill each process that handles them */
#define POISONS 0
#endif
#define MAX_RETRIES 1
#define CRASH_LIMIT 2

#define PROCESSES ((THREADS + 1) / 2)
#define MESSAGES (ORDERS * COPIES)
#define process(t) ((t) / 2)
#define order(m) ((m) % ORDERS)
#define me (t + 1)       /* the number of a thread as the holder of a lock; 0 is nobody */
#define PLATFORM 200     /* the platform's, likewise */
#define ALL MESSAGES
#define GONE 255

mtype:order = { pending, paid, cancelled }
mtype:place = { RESTS, READS, SORTS, GIVES, PUTS, WAITS, BURIES, BEGINS, HANDLES, COMMITS, FAILS,
                SENDS, DELETES }
mtype:plan = { skip_, cancel, postpone }

/* The database. */
mtype:order status[ORDERS] = pending;
byte row[ORDERS];                         /* who has locked the order's row */
bool dead[ORDERS];                        /* whether there is a dead letter about it */
bool sent[MESSAGES], unseen[MESSAGES];    /* whether a message exists; whether it is invisible */
byte reads[MESSAGES], retries[MESSAGES];  /* read_ct; retryCount */
byte lock[MESSAGES];                      /* who has locked the message's row, to delete it */
byte scan_lock;

/* The memory of processes and threads. A message is known by its read_ct; 0 is "not at all". */
mtype:place at[THREADS] = RESTS, then[THREADS] = RESTS;
byte holds[THREADS * MESSAGES];           /* read, and not decided */
byte gives[THREADS * MESSAGES];           /* taken from the list, and being given back */
byte owes[PROCESSES * MESSAGES];          /* the list of what is to be given back, of a whole process */
mtype:plan plans[THREADS * MESSAGES] = skip_;
byte only[THREADS] = ALL;                 /* the one message that is tried after a batch has failed */
byte alone[PROCESSES];                    /* the thread that has claimed to be alone */
bool stopping[PROCESSES];
bool scanning[PROCESSES], chosen[PROCESSES * ORDERS];

/* What only the properties ask for. */
byte effects[ORDERS], jobs[ORDERS];       /* cancellations; jobs that were sent and have not ended */
byte crashes[MESSAGES];                   /* reads that ended by a kill or a lost lease */
byte killed[ORDERS];                      /* processes that the order's message has killed */
bool calm = true, answered = true;        /* no kill or lost lease so far; no answer lost so far */

byte kills = KILLS, stops = STOPS, expiries = EXPIRIES, troubles = TROUBLES;
bool met[ORDERS], platform_sent;
hidden byte i, j, k, l, n, worst, first;

hidden byte an_order_is_cancelled_once, a_paid_order_is_left_alone, a_job_is_never_in_no_place,
    a_job_ends_once, an_order_has_one_message, a_lease_ends_by_itself_or_its_holder,
    only_crashes_count_as_crashes, every_crash_is_counted, a_poison_message_dies_alone,
    a_poison_message_kills_few, everything_is_handled_at_last;
#define demand(property, condition) property = (condition); assert(property)

#define held(t, m) holds[(t) * MESSAGES + (m)]
#define given(t, m) gives[(t) * MESSAGES + (m)]
#define owed(p, m) owes[(p) * MESSAGES + (m)]
#define plan(t, m) plans[(t) * MESSAGES + (m)]
#define in_batch(t, m) (held(t, m) && (only[t] == ALL || only[t] == (m)))
#define visible(m) (sent[m] && !unseen[m] && !lock[m])
#define is_settled(o) (status[o] != pending || dead[o])
#define any(is) (is(0) || is(1 % MESSAGES) || is(2 % MESSAGES) || is(3 % MESSAGES))
#define partner(t) ((t) ^ 1)
#define partner_rests(t) (partner(t) >= THREADS || at[partner(t) % THREADS] == RESTS)
#define wanted(o) (!is_settled(o) && !sent[o] && !sent[((o) + ORDERS) % MESSAGES])
#define any_wanted (wanted(0) || wanted(1 % ORDERS) || wanted(2 % ORDERS))

#define is_open(count) ((count) && (count) != GONE -> 1 : 0)   /* a read that somebody still remembers */

/* Whether somebody alive has the lease: its memory is the last read. */
#define read_by(t, m) (held(t, m) == reads[m] || given(t, m) == reads[m])
#define read_in(p, m) (read_by(p * 2, m) || read_by((p * 2 + 1) % THREADS, m) || owed(p, m) == reads[m])
#if THREADS > 2
#define is_leased(m) (reads[m] && (read_in(0, m) || read_in(1, m)))
#else
#define is_leased(m) (reads[m] && read_in(0, m))
#endif

#define suspects(m) (held(t, m) > 1 && held(t, m) <= CRASH_LIMIT)   /* what has crashed, not too often */
#define doomed(m) (held(t, m) > CRASH_LIMIT && held(t, m) != GONE)

#define is_held_here(m) held(t, m)
#define is_owed_here(m) owed(process(t), m)
#define is_waited_for(m) (in_batch(t, m) && held(t, m) != GONE && lock[m] && lock[m] != me)
#define is_poison_here(m) (lock[m] == me && order(m) < POISONS)
#define is_faulty_here(m) (lock[m] == me && order(m) < FAULTY)
#define everything_is_handled (is_settled(0) && is_settled(1 % ORDERS) && is_settled(2 % ORDERS))
#define LEFT_TO_HOLDER(m) (partner(t) < THREADS && reads[m] && held(partner(t) % THREADS, m) == reads[m])

/* Guarantees that can be removed, here and by the #ifs in the steps; README.md lists them. */
#ifdef NO_FENCE
#define IS_OURS(m, seen) (sent[m] && seen && reads[m])
#else
#define IS_OURS(m, seen) (sent[m] && seen && reads[m] == seen)
#endif
#ifdef NO_RECHECK
#define DUE(o) true
#else
#define DUE(o) (status[o] == pending)
#endif
#ifdef NO_ROW_LOCK
#define LOCKED 0
#else
#define LOCKED me
#endif
#ifdef NO_SCAN_LOCK
#define SCAN_LOCK_IS_FREE true
#else
#define SCAN_LOCK_IS_FREE (scan_lock == 0)
#endif
#ifdef SHARED_LIST   /* what is being given back stays on the list meanwhile */
#define GIVEN(t, m) 0
#else
#define GIVEN(t, m) given(t, m)
#endif
#ifdef SETTLE_AFTER   /* the deletion in a transaction of its own, after the work */
#define SETTLE(m) lock[m] = 0
#else
#define SETTLE(m) delete(m)
#endif

inline count(o, result) {   /* of the messages about an order */
    result = 0;
    for (l : 0 .. COPIES - 1) { result = result + sent[l * ORDERS + (o)] }
}

inline check() {   /* the properties of every committed state */
    for (k : 0 .. ORDERS - 1) {
        count(k, n);
        demand(a_job_is_never_in_no_place, jobs[k] <= n)
    }
    for (k : 0 .. MESSAGES - 1) {
        n = crashes[k];
        for (l : 0 .. THREADS - 1) { n = n + is_open(held(l, k)) + is_open(GIVEN(l, k)) }
        for (l : 0 .. PROCESSES - 1) { n = n + is_open(owed(l, k)) }
        demand(only_crashes_count_as_crashes, reads[k] <= n);
        demand(every_crash_is_counted, !answered || reads[k] >= n)
    }
    k = 0   /* a d_step must not end with a loop */
}

inline send(o, tried, delayed) {
    count(o, n);
    demand(an_order_has_one_message, n < COPIES);
    n = (o);
    do :: sent[n] -> n = n + ORDERS :: else -> break od;
    sent[n] = true; unseen[n] = delayed; retries[n] = tried
}

inline enqueue(o) { jobs[o]++; send(o, 0, false) }

inline delete(m) {   /* whoever has read it finds nothing any more under its id */
    sent[m] = false; unseen[m] = false; reads[m] = 0; retries[m] = 0; crashes[m] = 0; lock[m] = 0;
    for (l : 0 .. THREADS - 1) {
        held(l, m) = (held(l, m) -> GONE : 0);
        given(l, m) = 0
    }
    held(t, m) = 0; plan(t, m) = skip_;
    for (l : 0 .. PROCESSES - 1) { owed(l, m) = 0 }
}

inline finish(o) {
    demand(a_job_ends_once, jobs[o] > 0);
    jobs[o]--
}

inline unlock() {
    for (i : 0 .. MESSAGES - 1) { lock[i] = (lock[i] == me -> 0 : lock[i]); plan(t, i) = skip_ }
    for (i : 0 .. ORDERS - 1) { row[i] = (row[i] == me -> 0 : row[i]) }
}

inline owe(m, seen) {   /* put on the list; of two reads of one message, the later may be undone */
    n = owed(process(t), m);
    crashes[m] = crashes[m] + (n && is_open(seen) && n != seen -> 1 : 0);
    owed(process(t), m) = (is_open(seen) && seen > n -> seen : n)
}

inline remember(m) { owe(m, held(t, m)); held(t, m) = 0 }

inline remember_all() { for (i : 0 .. MESSAGES - 1) { remember(i) } }

inline put_all() { for (i : 0 .. MESSAGES - 1) { put_back(i, given(t, i)) } }

inline forget_given() {
    for (i : 0 .. MESSAGES - 1) {
        given(t, i) = 0;
#ifdef SHARED_LIST
        owed(process(t), i) = 0
#endif
    }
}

inline lose_given() {   /* what could not be given back is remembered again */
    troubles--;
    for (i : 0 .. MESSAGES - 1) {
        owe(i, given(t, i));
        given(t, i) = 0;
#ifdef FORGETS
        held(t, i) = 0
#else
        remember(i)
#endif
    }
    rest()
}

inline put_back(m, seen) {   /* as though it had not been read */
    if
    :: IS_OURS(m, seen) ->
        for (l : 0 .. THREADS - 1) {
            demand(a_lease_ends_by_itself_or_its_holder, held(l, m) != reads[m] || !answered)
        }
        reads[m]--; unseen[m] = false
    :: sent[m] && seen && !IS_OURS(m, seen) -> crashes[m]++   /* the lease was lost */
    :: else
    fi
}

inline rest() {   /* the end of a step */
    only[t] = ALL; then[t] = RESTS; at[t] = RESTS;
    alone[process(t)] = (alone[process(t)] == me -> 0 : alone[process(t)])
}

inline go_on() {   /* to the next part of the batch, or to the end of the step */
    first = ALL;
    for (i : 0 .. MESSAGES - 1) { first = (first == ALL && held(t, i) -> i : first) }
    if
    :: first == ALL -> rest()
    :: else -> only[t] = (only[t] == ALL -> ALL : first); at[t] = BEGINS
    fi
}

inline lose_connection() {   /* everything that was read is given back, or remembered */
    unlock(); troubles--; remember_all(); then[t] = RESTS; at[t] = GIVES
}

inline carry_out() {   /* the commit of the batch's transaction */
    for (i : 0 .. MESSAGES - 1) {
        if
        :: lock[i] == me ->
            j = order(i);
            if
            :: plan(t, i) == postpone ->
                n = retries[i]; worst = n; delete(i); send(j, worst, true)
            :: plan(t, i) == cancel ->
                demand(a_paid_order_is_left_alone, status[j] != paid);
                effects[j]++;
                demand(an_order_is_cancelled_once, effects[j] <= 1);
                status[j] = cancelled; finish(j);
                SETTLE(i)
            :: else -> finish(j); SETTLE(i)
            fi
        :: else
        fi
    }
    unlock()
}

inline kill(p) {   /* locks are freed, memory is lost, leases stay until they end */
    for (k : 0 .. MESSAGES - 1) {
        n = is_open(owed(p, k));
        for (l : 0 .. THREADS - 1) {
            n = n + (process(l) == p -> is_open(held(l, k)) + is_open(GIVEN(l, k)) : 0)
        }
        crashes[k] = crashes[k] + n;
#ifdef READ_UNCOUNTED
        reads[k] = reads[k] - n;
#endif
        owed(p, k) = 0
    }
    for (l : 0 .. THREADS - 1) {
        if
        :: process(l) == p ->
            at[l] = RESTS; then[l] = RESTS; only[l] = ALL;
            for (k : 0 .. MESSAGES - 1) {
                held(l, k) = 0; given(l, k) = 0; plan(l, k) = skip_;
                lock[k] = (lock[k] == l + 1 -> 0 : lock[k])
            }
            for (k : 0 .. ORDERS - 1) { row[k] = (row[k] == l + 1 -> 0 : row[k]) }
        :: else
        fi
    }
    alone[p] = 0; stopping[p] = false; scanning[p] = false;
    scan_lock = (scan_lock == p + 1 -> 0 : scan_lock);
    for (k : 0 .. ORDERS - 1) { chosen[p * ORDERS + k] = false }
}

proctype Worker(byte t) {
end:
    do
    :: d_step { at[t] == RESTS && !stopping[process(t)] && !alone[process(t)] &&
                (any(visible) || any(is_owed_here)) ->
        if
        :: any(is_owed_here) -> then[t] = READS; at[t] = GIVES
        :: else -> at[t] = READS
        fi; k = 0 }

    :: d_step { at[t] == READS ->   /* one statement, and its commit */
        for (i : 0 .. MESSAGES - 1) {
            if
            :: visible(i) && LEFT_TO_HOLDER(i) -> unseen[i] = true
            :: visible(i) && !LEFT_TO_HOLDER(i) ->
                reads[i]++; held(t, i) = reads[i]; unseen[i] = true
            :: else
            fi
        }
        if :: any(is_held_here) -> at[t] = SORTS :: else -> rest() fi;
        check() }
    :: d_step { at[t] == READS && troubles ->   /* the same, and its answer is lost */
        for (i : 0 .. MESSAGES - 1) {
            if
            :: visible(i) && LEFT_TO_HOLDER(i) -> unseen[i] = true
            :: visible(i) && !LEFT_TO_HOLDER(i) ->
                reads[i]++; unseen[i] = true;
#ifndef NO_MARK
                held(t, i) = reads[i]
#endif
            :: else
            fi
        }
        lose_connection(); check() }

    :: d_step { at[t] == SORTS ->   /* in memory */
        first = ALL; then[t] = BEGINS;
        for (i : 0 .. MESSAGES - 1) {
            first = (first == ALL && suspects(i) -> i : first);
            then[t] = (doomed(i) -> BURIES : then[t])
        }
#ifndef NO_ISOLATION
        if
        :: first == ALL
        :: first != ALL && alone[process(t)] && alone[process(t)] != me ->
            remember_all(); then[t] = RESTS
        :: first != ALL && (!alone[process(t)] || alone[process(t)] == me) ->
            alone[process(t)] = me;
            for (i : 0 .. MESSAGES - 1) {
                if
                :: !partner_rests(t) || (i != first && !doomed(i)) -> remember(i)
                :: else
                fi
            }
            then[t] = (partner_rests(t) -> then[t] : WAITS)
        fi;
#endif
        at[t] = (any(is_owed_here) -> GIVES : then[t]) }

    :: d_step { at[t] == WAITS && (partner_rests(t) || stopping[process(t)]) ->
        if :: stopping[process(t)] -> rest() :: else -> at[t] = READS fi; k = 0 }

    /* Giving back: what is on the list, whoever has put it there. */
    :: d_step { at[t] == GIVES ->
        for (i : 0 .. MESSAGES - 1) {
            given(t, i) = owed(process(t), i);
#ifndef SHARED_LIST
            owed(process(t), i) = 0
#endif
        }
        at[t] = PUTS }
    :: d_step { at[t] == PUTS -> put_all(); forget_given(); at[t] = then[t];
        if :: at[t] == RESTS -> rest() :: else fi; check() }
    :: d_step { at[t] == PUTS && troubles -> lose_given(); check() }
    :: d_step { at[t] == PUTS && troubles -> put_all(); answered = false; lose_given(); check() }

    /* What has crashed too often is dead-lettered; the deletion waits for whoever has locked it. */
    :: d_step { at[t] == BURIES && !any(is_waited_for) ->
        for (i : 0 .. MESSAGES - 1) {
            if
            :: held(t, i) == GONE -> held(t, i) = 0
            :: doomed(i) ->
                j = order(i);
                demand(a_poison_message_dies_alone, j < POISONS || !calm);
                delete(i); dead[j] = true; finish(j)
            :: else
            fi
        }
        go_on(); check() }

    /* The work: one transaction for the batch, or for one message once the batch has failed. */
    :: d_step { at[t] == BEGINS && stopping[process(t)] ->
#ifdef STOP_COUNTS
        for (i : 0 .. MESSAGES - 1) { held(t, i) = 0 }
        rest(); check() }
#else
        remember_all(); then[t] = RESTS; at[t] = GIVES }
#endif
    :: d_step { at[t] == BEGINS && !stopping[process(t)] && !any(is_waited_for) ->
        first = ALL;
        for (i : 0 .. MESSAGES - 1) {
            if
            :: in_batch(t, i) && held(t, i) == GONE -> held(t, i) = 0
            :: in_batch(t, i) && held(t, i) != GONE -> lock[i] = me; first = i
            :: else
            fi
        }
        if :: first == ALL -> go_on() :: else -> at[t] = HANDLES fi; k = 0 }

    :: d_step { at[t] == HANDLES && !any(is_poison_here) ->
        for (i : 0 .. MESSAGES - 1) {
            j = order(i);
            if
            :: lock[i] != me
            :: lock[i] == me && !DUE(j) -> plan(t, i) = skip_
            :: lock[i] == me && DUE(j) && row[j] == 0 -> plan(t, i) = cancel; row[j] = LOCKED
            :: lock[i] == me && DUE(j) && row[j] == me -> plan(t, i) = skip_
            :: lock[i] == me && DUE(j) && row[j] && row[j] != me -> plan(t, i) = postpone
            fi
        }
        at[t] = COMMITS }
    :: d_step { at[t] == HANDLES && !any(is_poison_here) && any(is_faulty_here) ->   /* it raises */
        unlock(); first = ALL; n = 0;
        for (i : 0 .. MESSAGES - 1) {
            first = (first == ALL && held(t, i) -> i : first);
            n = n + (in_batch(t, i) -> 1 : 0)
        }
        at[t] = (n > 1 -> BEGINS : FAILS); only[t] = first }
    :: d_step { at[t] == HANDLES && any(is_poison_here) ->
        for (i : 0 .. MESSAGES - 1) {
            if
            :: is_poison_here(i) ->
                killed[order(i)]++;
                demand(a_poison_message_kills_few, killed[order(i)] <= CRASH_LIMIT || !answered)
            :: else
            fi
        }
        kill(process(t)); check() }

    :: d_step { at[t] == COMMITS -> carry_out();
#ifdef SETTLE_AFTER
        at[t] = DELETES; check() }
    :: d_step { at[t] == DELETES ->
        for (i : 0 .. MESSAGES - 1) {
            if :: in_batch(t, i) && held(t, i) != GONE -> delete(i) :: else fi;
            held(t, i) = (in_batch(t, i) -> 0 : held(t, i))
        }
#endif
        go_on(); check() }
    :: d_step { at[t] == COMMITS && troubles -> lose_connection(); k = 0 }
    :: d_step { at[t] == COMMITS && troubles -> carry_out(); answered = false; lose_connection(); check() }

    /* A job that raised alone: it is retried or dead-lettered, in a transaction of its own. */
    :: d_step { at[t] == FAILS && !any(is_waited_for) ->
        i = only[t]; j = order(i); worst = retries[i];
        if
        :: held(t, i) == GONE -> held(t, i) = 0; go_on()
        :: held(t, i) != GONE && worst == MAX_RETRIES -> delete(i); dead[j] = true; finish(j); go_on()
        :: held(t, i) != GONE && worst < MAX_RETRIES ->
            delete(i);
#ifdef SEND_APART
            at[t] = SENDS
#else
            send(j, worst + 1, true); go_on()
#endif
        fi;
        check() }
    :: d_step { at[t] == SENDS -> send(order(only[t]), 1, true); go_on(); check() }
    :: d_step { at[t] == FAILS && troubles -> lose_connection(); k = 0 }
    od
}

proctype Scanner(byte p) {
end:
    do
    :: d_step { !scanning[p] && !stopping[p] && SCAN_LOCK_IS_FREE && any_wanted ->
        scan_lock = p + 1; scanning[p] = true;
        for (i : 0 .. ORDERS - 1) { chosen[p * ORDERS + i] = wanted(i) }; k = 0 }
    :: d_step { scanning[p] ->
        for (j : 0 .. ORDERS - 1) {
            if :: chosen[p * ORDERS + j] -> enqueue(j); chosen[p * ORDERS + j] = false :: else fi
        }
        scanning[p] = false; scan_lock = 0; check() }
    od
}

proctype Clock(byte m) {   /* rests and leases end */
end:
    do
    :: d_step { sent[m] && unseen[m] && !is_leased(m) -> unseen[m] = false }
    :: d_step { sent[m] && unseen[m] && is_leased(m) && expiries ->
        expiries--; calm = false; unseen[m] = false }
    od
}

proctype Platform(byte o) {   /* a customer opens the order once, and pays or does not */
end:
    do
    :: d_step { !met[o] && row[o] == 0 && status[o] == pending -> met[o] = true; row[o] = PLATFORM }
    :: d_step { row[o] == PLATFORM -> row[o] = 0 }
    :: d_step { row[o] == PLATFORM -> row[o] = 0; status[o] = paid }
    :: d_step { COPIES > 1 && !platform_sent && scan_lock == 0 -> platform_sent = true; enqueue(o); check() }
    :: !met[o] && row[o] != PLATFORM -> met[o] = true
    od
}

proctype Fate(byte p) {   /* kills, and stops: a new process follows at once */
    byte t = p * 2;
    bool over = false;
end:
    do
    :: d_step { !over && kills -> kills--; calm = false; kill(p); check() }
    :: d_step { !over && stops && !stopping[p] -> stops--; stopping[p] = true }
    :: d_step { stopping[p] && at[t] == RESTS && partner_rests(t) && !scanning[p] ->
        for (i : 0 .. MESSAGES - 1) { put_back(i, owed(p, i)); owed(p, i) = 0 }
        kill(p); check() }
    :: !over && !stopping[p] -> over = true
    od
}

proctype Judge() {
    timeout -> demand(everything_is_handled_at_last, everything_is_handled)
}

init {
    atomic {
        for (i : 0 .. THREADS - 1) { run Worker(i) }
        for (i : 0 .. PROCESSES - 1) { run Scanner(i); run Fate(i) }
        for (i : 0 .. MESSAGES - 1) { run Clock(i) }
        for (i : 0 .. ORDERS - 1) { run Platform(i) }
        run Judge()
    }
}

ltl handled_at_last { <> everything_is_handled }
