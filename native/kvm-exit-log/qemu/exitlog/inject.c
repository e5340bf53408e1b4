/*
 * Exit log: injections, one record at a time.
 *
 * Each kind's record and replay rules stand side by side in its own file; this
 * one only picks the next.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/debug/debug-writes.h"
#include "exitlog/inject.h"
#include "exitlog/verify/fault.h"

static void count(void)
{
    qatomic_set(&xl.shm->injected, xl.shm->injected + 1);
}

bool exitlog_inject_live(void)
{
    bool done = exitlog_exits_inject();

    if (done) {
        count();
    }
    return done;
}

static int position_cmp(const struct exitlog_record *r, Position p)
{
    if ((int64_t)r->icount != p.icount) {
        return (int64_t)r->icount < p.icount ? -1 : 1;
    }
    return r->vtime_ns < p.vtime_ns ? -1 : r->vtime_ns > p.vtime_ns;
}

bool exitlog_inject_replay(int64_t *icount, int64_t *vtime_ns)
{
    const struct exitlog_record *logged = exitlog_peek(), *r;
    const ExitlogRecordKind *kind;
    struct exitlog_record seen;
    Position now = exitlog_position();
    int order;

    if (!logged) {
        return false;
    }
    *icount = -1;
    seen = *logged;
    r = &seen;
    if (!exitlog_fault_record(&seen)) {
        return true;
    }
    kind = exitlog_record_kind(r->kind);
    if (kind && kind->match && kind->match(r)) {
        return true;
    }
    order = position_cmp(r, now);
    if (order > 0) {
        *icount = r->icount;
        *vtime_ns = r->vtime_ns;
        return true;
    }
    if (order < 0) {
        exitlog_diverge(r, "the guest passed a record's position without "
                        "consuming it");
    }
    if (!exitlog_clean()) {
        exitlog_diverge(r, "a record stands after the delivery of an exception "
                        "or interrupt");
    }
    if (kind && kind->check) {
        kind->check(r);
        return true;
    }
    if (!kind || !kind->apply) {
        exitlog_diverge(r, "the log has a %s here, which the guest did not ask "
                        "for or produce", exitlog_record_name(r->kind));
    }
    exitlog_debug_applies(r);
    kind->apply(r);
    exitlog_debug_applies(NULL);
    exitlog_consume();
    count();
    return true;
}
