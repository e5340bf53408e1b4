/*
 * Exit log: how a log ends: in END, or by going live.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/timer.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint.h"
#include "exitlog/debug/debug.h"
#include "exitlog/end.h"
#include "exitlog/verify/digest.h"
#include "exitlog/verify/periodic.h"

#define RELEASE_NS_MAX (5 * NANOSECONDS_PER_SECOND)

void exitlog_go_live(void)
{
    exitlog_out_begin();
    qatomic_set(&xl.live, true);
    qatomic_set(&xl.shm->live_at_ns, get_clock());
    exitlog_exits_go_live();
    exitlog_publish(exitlog_position());
    exitlog_set_state(EXITLOG_STATE_RECORDING);
}

bool exitlog_end_wanted(void)
{
    return xl.shutdown_cause || qatomic_read(&xl.stop_wanted) ||
        exitlog_control(EXITLOG_CTL_STOP);
}

static void finish(enum exitlog_end reason)
{
    int64_t start = get_clock();

    qatomic_set(&xl.shm->end_reason, reason);
    exitlog_publish(exitlog_position());
    exitlog_notify();
    /* What the guest sent before it ended still leaves when it is covered. */
    while (xl.live && !exitlog_exits_drained() &&
           get_clock() - start < RELEASE_NS_MAX) {
        exitlog_vcpu_wait(SCALE_MS);
    }
    exitlog_checkpoint_finish();
    xl.ended = true;
    exitlog_set_state(EXITLOG_STATE_ENDED);
    cpu_stop_current();
    qemu_system_shutdown_request(xl.shutdown_cause ? xl.shutdown_cause
                                 : SHUTDOWN_CAUSE_HOST_QMP_QUIT);
}

void exitlog_end(enum exitlog_end reason)
{
    struct exitlog_digest d;

    exitlog_exits_end();
    d = exitlog_digest_full();
    exitlog_emit(EXITLOG_DIGEST, EXITLOG_DIGEST_FINAL, sizeof(d), 0, &d);
    exitlog_emit(EXITLOG_END, reason, 0, 0, NULL);
    finish(reason);
}

void exitlog_end_replay(const struct exitlog_record *r)
{
    struct exitlog_digest actual;
    enum exitlog_end reason;

    while (!r || r->kind == EXITLOG_CHAR_OUT || r->kind == EXITLOG_BLK_DATA) {
        r = exitlog_peek_wait();
        if (!r) { /* the primary died in its last instruction: end it here */
            exitlog_go_live();
            exitlog_exits_flush();
            exitlog_end(EXITLOG_END_POWEROFF);
            return;
        }
        if (r->kind == EXITLOG_CHAR_OUT &&
            !exitlog_record_kind(r->kind)->match(r)) {
            exitlog_diverge(r, "the guest switched itself off");
        }
        if (r->kind == EXITLOG_BLK_DATA) {
            exitlog_record_kind(r->kind)->apply(r);
            exitlog_consume();
        }
    }
    if (r->kind != EXITLOG_DIGEST || r->channel != EXITLOG_DIGEST_FINAL ||
        (int64_t)r->icount != exitlog_position().icount) {
        exitlog_diverge(r, "the guest switched itself off");
    }
    actual = exitlog_digest_full();
    exitlog_digest_compare(r, &actual);
    if (exitlog_debug_on) {
        exitlog_debug_end();
        return;
    }
    exitlog_consume();
    r = exitlog_peek_wait();
    if (r && r->kind != EXITLOG_END) {
        exitlog_diverge(r, "a digest is not followed by the end of the log");
    }
    reason = r ? r->channel
        : xl.shutdown_cause ? EXITLOG_END_POWEROFF : EXITLOG_END_STOP;
    if (r) {
        exitlog_consume();
    } else { /* the primary died with one record to go */
        exitlog_go_live();
        exitlog_emit(EXITLOG_END, reason, 0, 0, NULL);
    }
    finish(reason);
}

static void check(const struct exitlog_record *r)
{
    if (r->channel == EXITLOG_DIGEST_PERIODIC) {
        exitlog_digest_replay(r);
    } else {
        exitlog_end_replay(r);
    }
}

static void go_live(void)
{
    exitlog_digest_schedule(exitlog_icount());
}

static const ExitlogRecordKind records[] = {
    { .kind = EXITLOG_DIGEST, .name = "digest", .check = check },
    { .kind = EXITLOG_END, .name = "end" },
    { /* end of list */ }
};

const ExitlogExit exitlog_end_exit = {
    .records = records,
    .go_live = go_live,
};
