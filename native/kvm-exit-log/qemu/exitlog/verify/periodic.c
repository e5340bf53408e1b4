/*
 * Exit log: digests in the middle of a log.
 *
 * A running VM logs one at power-on, before its first instruction, and one at
 * the first clean position after each multiple of `digest-every` instructions;
 * the record has the position, so a replay makes its own there and compares.  A
 * difference is a divergence, somewhere between the last digest that was equal
 * and this one; at power-on it is something of the host that reached the guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "exitlog/internal.h"
#include "system/cpu-timers.h"

static int64_t every; /* 0: none */
static int64_t next = INT64_MAX;
static bool begun;    /* memory was hashed as a whole */
static Position last_equal = { .icount = -1 };

/* Also at go-live: nothing is hashed in the moment when clients wait. */
void exitlog_digest_schedule(int64_t icount)
{
    begun |= icount > 0;
    next = every ? (icount / every + 1) * every : INT64_MAX;
}

void exitlog_digest_configure(int64_t instructions)
{
    every = instructions;
    next = every ? 0 : INT64_MAX;
}

/* Live: where the vCPU should stop for a digest, seen from a visit at icount. */
int64_t exitlog_digest_stop(int64_t icount)
{
    /* Due, but not at this position, which is not clean: at the next. */
    return next <= icount ? icount + 1 : next;
}

/* All of memory, once: best before the guest runs. */
void exitlog_digest_begin(void)
{
    if (every && !begun) {
        begun = true;
        exitlog_ram_digest();
    }
}

/* Live, at a visit, before its injections. */
void exitlog_digest_visit(void)
{
    int64_t icount = icount_get_raw();
    struct exitlog_digest d;

    exitlog_digest_begin();
    if (icount < next || !exitlog_clean()) {
        return;
    }
    d = exitlog_digest();
    exitlog_emit(EXITLOG_DIGEST, EXITLOG_DIGEST_PERIODIC, sizeof(d), 0, &d);
    exitlog_digest_schedule(icount);
}

Position exitlog_last_equal_digest(void)
{
    return last_equal;
}

/* Replay: the log's digest at this position against ours. */
void exitlog_digest_compare(const struct exitlog_record *r,
                            const struct exitlog_digest *actual)
{
    struct exitlog_digest expected;

    if (r->len != sizeof(expected)) {
        exitlog_diverge(r, "a digest of %u bytes", r->len);
    }
    exitlog_payload(r, &expected);
    if (memcmp(&expected, actual, sizeof(expected))) {
        exitlog_probe_before_end(exitlog_position());
        exitlog_diverge_digest(r, &expected, actual);
    }
    last_equal = exitlog_position();
}

void exitlog_digest_replay(const struct exitlog_record *r)
{
    struct exitlog_digest actual = exitlog_digest();

    exitlog_digest_compare(r, &actual);
    exitlog_consume();
    exitlog_digest_schedule(r->icount);
}
