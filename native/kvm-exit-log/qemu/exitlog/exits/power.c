/*
 * Exit log: commands of the operator, reset, and power.
 *
 * A guest's own reset or power-off is computed, so it needs no record: the
 * vCPU is parked right after the instruction (cpu_stop_current), and the main
 * loop acts meanwhile.  An operator's is an input.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/console.h"
#include "exitlog/exits/suspend.h"

static bool powerdown_wanted;
static bool reset_wanted;

bool exitlog_shutdown_request(ShutdownCause reason)
{
    if (!exitlog_on() || xl.ended) {
        return false;
    }
    if (qemu_in_vcpu_thread()) {
        xl.shutdown_cause = reason;
    } else {
        qatomic_set(&xl.stop_wanted, true);
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

/* False: it is woken, by who asks, once the vCPU is parked. */
bool exitlog_wakeup_request(void)
{
    if (!exitlog_on()) {
        return false;
    }
    if (!qemu_in_vcpu_thread()) {
        return exitlog_powerdown_request(); /* an operator's: an input */
    }
    exitlog_suspend_woken();
    return false;
}

/* A signal asks this process to end: end the log first.  Signal-safe. */
bool exitlog_killed(void)
{
    if (!exitlog_on() || xl.ended) {
        return false;
    }
    qatomic_set(&xl.stop_wanted, true);
    exitlog_kick();
    return true;
}

static bool pending(void)
{
    const struct exitlog_record *c = exitlog_peek();

    if (exitlog_console_pending()) {
        return true;
    }
    if (c && c->kind == EXITLOG_CHAR_IN) {
        return exitlog_console_takes(c);
    }
    return c || qatomic_read(&powerdown_wanted) || qatomic_read(&reset_wanted);
}

static void press(enum exitlog_kind kind)
{
    if (kind == EXITLOG_POWERDOWN && xl.suspended) {
        exitlog_suspend_press();
    } else if (kind == EXITLOG_POWERDOWN) {
        qemu_system_powerdown_now();
    } else {
        exitlog_suspend_cut_short();
        qemu_system_reset_request(SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
    }
}

/* Live: one command of the daemon (from IN), or one request made in QEMU. */
static bool inject(void)
{
    const struct exitlog_record *c;
    enum exitlog_kind kind = EXITLOG_NONE;

    while ((c = exitlog_peek()) && c->kind == EXITLOG_CHAR_IN &&
           exitlog_console_takes(c)) {
        exitlog_console_take(c);
    }
    if (exitlog_console_inject()) {
        return true;
    }
    if (c && c->kind == EXITLOG_CHAR_IN) {
        return false; /* its port is full: at a later visit */
    }
    if (c) {
        kind = c->kind;
        exitlog_consume();
        if (kind != EXITLOG_POWERDOWN && kind != EXITLOG_RESET) {
            warn_report("exitlog: '%s' is no command for a live VM; ignored",
                        exitlog_record_name(kind));
            return false;
        }
    } else if (qatomic_xchg(&powerdown_wanted, false)) {
        kind = EXITLOG_POWERDOWN;
    } else if (qatomic_xchg(&reset_wanted, false)) {
        kind = EXITLOG_RESET;
    } else {
        return false;
    }
    if (kind == EXITLOG_RESET) {
        exitlog_console_forget();
    }
    exitlog_emit(kind, 0, 0, 0, NULL);
    press(kind);
    return true;
}

static void apply(const struct exitlog_record *r)
{
    press(r->kind);
}

static const ExitlogRecordKind records[] = {
    { .kind = EXITLOG_POWERDOWN, .name = "powerdown", .apply = apply },
    { .kind = EXITLOG_RESET, .name = "reset", .apply = apply },
    { /* end of list */ }
};

const ExitlogExit exitlog_power_exit = {
    .records = records,
    .start = exitlog_suspend_start,
    .visit = exitlog_suspend_visit,
    .pending = pending,
    .inject = inject,
};
