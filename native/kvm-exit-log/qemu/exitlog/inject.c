/*
 * Exit log: injections, one record at a time.
 *
 * Each kind's record and replay rules stand side by side in its own file; this
 * one only picks the next.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "exitlog/internal.h"

bool exitlog_inject_pending(void)
{
    return exitlog_power_pending() || exitlog_blk_pending() ||
        exitlog_net_pending();
}

/* Live: take one input from a back end, log it, hand it to its device. */
bool exitlog_inject_live(void)
{
    bool done = exitlog_power_inject() || exitlog_blk_inject() ||
        exitlog_net_inject();

    if (done) {
        qatomic_set(&xl.shm->injected, xl.shm->injected + 1);
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

static void apply_input(const struct exitlog_record *r)
{
    g_autofree uint8_t *data = NULL;

    switch (r->kind) {
    case EXITLOG_NET_IN:
        exitlog_net_apply(r);
        break;
    case EXITLOG_CHAR_IN:
        data = g_malloc(r->len);
        exitlog_payload(r, data);
        exitlog_console_apply(r->channel, data, r->len);
        break;
    case EXITLOG_BLK_DONE:
        exitlog_blk_apply(r);
        break;
    case EXITLOG_BLK_DATA:
        exitlog_disk_data_apply(r);
        break;
    case EXITLOG_CLOCK:
        exitlog_clock_apply(r);
        break;
    case EXITLOG_CHECKPOINT:
        exitlog_checkpoint_apply(r);
        break;
    case EXITLOG_POWERDOWN:
    case EXITLOG_RESET:
        exitlog_power_apply(r->kind);
        break;
    default:
        exitlog_diverge(r, "the log has a %s here, which the guest did not ask "
                        "for or produce", exitlog_kind_name(r->kind));
    }
}

/*
 * Replay: apply the next record if its position is here.  Returns false if the
 * log has no record yet.  Otherwise *icount is -1 when one was used, or the
 * position of the next one, which is ahead.
 */
bool exitlog_inject_replay(int64_t *icount, int64_t *vtime_ns)
{
    const struct exitlog_record *logged = exitlog_peek(), *r;
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
    if (r->kind == EXITLOG_CHAR_OUT && exitlog_console_match(r)) {
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
    if (r->kind == EXITLOG_DIGEST) {
        if (r->channel == EXITLOG_DIGEST_PERIODIC) {
            exitlog_digest_replay(r);
        } else {
            exitlog_end_replay(r);
        }
        return true;
    }
    exitlog_debug_applies(r);
    apply_input(r);
    exitlog_debug_applies(NULL);
    exitlog_consume();
    qatomic_set(&xl.shm->injected, xl.shm->injected + 1);
    return true;
}
