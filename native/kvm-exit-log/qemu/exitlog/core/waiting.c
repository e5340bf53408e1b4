/*
 * Exit log: sleeping until the daemon does something.
 *
 * The futex in shared memory is the daemon's to wake, without a detour through
 * our io thread: to feed, to acknowledge, or to raise a bound.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/timer.h"
#include "exitlog/core/state.h"
#include "exitlog/core/waiting.h"
#include <linux/futex.h>
#include <sys/syscall.h>

/*
 * Whoever changes what is waited for wakes us; a daemon that dies takes us along.  This
 * bounds what a missed wake-up could cost, and an idle replay hardly pays for it.
 */
#define WAIT_NS_MAX (200 * SCALE_MS)

DaemonSide exitlog_daemon_side(void)
{
    struct exitlog_shm *shm = xl.shm;

    return (DaemonSide) {
        .in_head = qatomic_read(&shm->in.head),
        .out_tail = qatomic_read(&shm->out.tail),
        .out_data_tail = qatomic_read(&shm->out.data_tail),
        .state_tail = qatomic_read(&shm->epoch_state.tail),
        .commit = qatomic_read(&shm->commit),
        .icount_max = qatomic_read(&shm->icount_max),
        .in_horizon_seq = qatomic_read(&shm->in_horizon_seq),
        .control = qatomic_read(&shm->control),
    };
}

/*
 * Sleep until the daemon's side is no longer as the caller has seen it, or (unless
 * NULL) *kicked is set, which exitlog_daemon_wake() has to follow.
 */
void exitlog_daemon_wait(const DaemonSide *seen, const bool *kicked)
{
    uint32_t *wanted = &xl.shm->daemon_wanted;
    struct timespec ts = { .tv_nsec = WAIT_NS_MAX };
    DaemonSide now;

    qatomic_set(wanted, 2);
    smp_mb(); /* pairs with exitlog_daemon_wake() and with the daemon */
    now = exitlog_daemon_side();
    if (!(kicked && qatomic_read(kicked)) && !memcmp(&now, seen, sizeof(now))) {
        syscall(SYS_futex, wanted, FUTEX_WAIT, 2, &ts, NULL, 0);
    }
    qatomic_set(wanted, 0);
}

/* Any thread, after what the sleeper looks for has been changed. */
void exitlog_daemon_wake(void)
{
    uint32_t *wanted = &xl.shm->daemon_wanted;

    if (qatomic_read(wanted) && qatomic_xchg(wanted, 0)) {
        syscall(SYS_futex, wanted, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}
