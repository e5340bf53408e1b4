/*
 * Exit log: commands of the operator, reset, power, and the end of a log.
 *
 * A guest's own reset or power-off is computed, so it needs no record: the
 * vCPU is parked right after the instruction (cpu_stop_current), and the main
 * loop acts meanwhile.  An operator's is an input.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "exitlog/internal.h"
#include "qapi/qapi-events-run-state.h"
#include "system/cpus.h"
#include "system/runstate.h"

#define RELEASE_NS_MAX (5 * NANOSECONDS_PER_SECOND)

static bool powerdown_wanted;
static bool reset_wanted;
static bool stop_wanted;
static uint32_t typed; /* bytes of the CHAR_IN command already injected */

bool exitlog_shutdown_request(ShutdownCause reason)
{
    if (!exitlog_on() || xl.ended) {
        return false;
    }
    if (qemu_in_vcpu_thread()) {
        xl.shutdown_cause = reason;
    } else {
        qatomic_set(&stop_wanted, true);
    }
    exitlog_kick();
    return true;
}

bool exitlog_powerdown_request(void)
{
    if (exitlog_on()) {
        qatomic_set(&powerdown_wanted, true);
        exitlog_kick();
    }
    return exitlog_on();
}

bool exitlog_reset_request(ShutdownCause reason)
{
    if (!exitlog_on() || qemu_in_vcpu_thread()) {
        return false;
    }
    qatomic_set(&reset_wanted, true);
    exitlog_kick();
    return true;
}

/* A signal asks this process to end: end the log first.  Signal-safe. */
bool exitlog_killed(void)
{
    if (!exitlog_on() || xl.ended) {
        return false;
    }
    qatomic_set(&stop_wanted, true);
    exitlog_kick();
    return true;
}

bool exitlog_power_pending(void)
{
    const struct exitlog_record *c = exitlog_peek();

    if (c && c->kind == EXITLOG_CHAR_IN) {
        return exitlog_console_room(c->channel) > 0;
    }
    return c || qatomic_read(&powerdown_wanted) || qatomic_read(&reset_wanted);
}

void exitlog_power_apply(enum exitlog_kind kind)
{
    if (kind == EXITLOG_POWERDOWN && exitlog_suspended()) {
        exitlog_suspend_press();
    } else if (kind == EXITLOG_POWERDOWN) {
        qemu_system_powerdown_now();
    } else {
        exitlog_suspend_cut_short();
        qemu_system_reset_request(SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
    }
}

/* Live: one command of the daemon (from IN), or one request made in QEMU. */
bool exitlog_power_inject(void)
{
    const struct exitlog_record *c = exitlog_peek();
    enum exitlog_kind kind = EXITLOG_NONE;

    if (c && c->kind == EXITLOG_CHAR_IN) {
        int room = MIN(exitlog_console_room(c->channel), c->len - typed);
        g_autofree uint8_t *data = NULL;

        if (room <= 0 && typed < c->len) {
            return false; /* the UART's FIFO is full: at a later visit */
        }
        data = g_malloc(c->len + 1);
        exitlog_payload(c, data);
        exitlog_emit(EXITLOG_CHAR_IN, c->channel, room, 0, data + typed);
        exitlog_console_apply(c->channel, data + typed, room);
        typed += room;
        if (typed == c->len) {
            typed = 0;
            exitlog_consume();
        }
        return true;
    }
    if (c) {
        kind = c->kind;
        exitlog_consume();
        if (kind != EXITLOG_POWERDOWN && kind != EXITLOG_RESET) {
            warn_report("exitlog: '%s' is no command for a live VM; ignored",
                        exitlog_kind_name(kind));
            return false;
        }
    } else if (qatomic_xchg(&powerdown_wanted, false)) {
        kind = EXITLOG_POWERDOWN;
    } else if (qatomic_xchg(&reset_wanted, false)) {
        kind = EXITLOG_RESET;
    } else {
        return false;
    }
    exitlog_emit(kind, 0, 0, 0, NULL);
    exitlog_power_apply(kind);
    return true;
}

bool exitlog_end_wanted(void)
{
    return xl.shutdown_cause || qatomic_read(&stop_wanted) ||
        exitlog_control(EXITLOG_CTL_STOP);
}

static void finish(enum exitlog_end reason)
{
    int64_t start = get_clock();

    qatomic_set(&xl.shm->end_reason, reason);
    exitlog_publish(exitlog_position());
    exitlog_notify();
    /* What the guest sent before it ended still leaves when it is covered. */
    while (xl.live && !exitlog_net_drained() &&
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

    exitlog_blk_end();
    d = exitlog_digest_full();
    exitlog_emit(EXITLOG_DIGEST, EXITLOG_DIGEST_FINAL, sizeof(d), 0, &d);
    exitlog_emit(EXITLOG_END, reason, 0, 0, NULL);
    finish(reason);
}

/*
 * Replay reached the end: the log's DIGEST (r, or the next record if the guest
 * itself powered off), then END.
 */
void exitlog_end_replay(const struct exitlog_record *r)
{
    struct exitlog_digest actual;
    enum exitlog_end reason;

    while (!r || r->kind == EXITLOG_CHAR_OUT || r->kind == EXITLOG_BLK_DATA) {
        r = exitlog_peek_wait();
        if (!r) { /* the primary died in its last instruction: end it here */
            exitlog_go_live();
            exitlog_console_flush();
            exitlog_end(EXITLOG_END_POWEROFF);
            return;
        }
        if (r->kind == EXITLOG_CHAR_OUT && !exitlog_console_match(r)) {
            exitlog_diverge(r, "the guest switched itself off");
        }
        if (r->kind == EXITLOG_BLK_DATA) {
            exitlog_disk_data_apply(r);
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
    if (!r || r->kind != EXITLOG_END) {
        exitlog_diverge(r, "a digest is not followed by the end of the log");
    }
    reason = r->channel;
    exitlog_consume();
    finish(reason);
}
