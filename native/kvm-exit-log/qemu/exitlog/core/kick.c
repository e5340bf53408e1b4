/*
 * Exit log: the vCPU thread sleeps, and is woken.
 *
 * Other threads only enqueue and kick.  A kick may come at any time and changes
 * nothing: the vCPU thread makes a visit and looks at its queues.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/state.h"
#include <poll.h>
#include <sys/eventfd.h>

static int kick_fd = -1;
static int io_fd = -1;
static bool sleeping;

static void __attribute__((constructor)) kick_init(void)
{
    kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    io_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static void signal_fd(int fd)
{
    uint64_t one = 1;
    ssize_t ignored = write(fd, &one, sizeof(one));

    (void)ignored; /* EAGAIN: it is signalled already */
}

void exitlog_kick(void)
{
    qatomic_set(&xl.kicked, true);
    exitlog_interrupt_current();
    smp_mb(); /* pairs with exitlog_vcpu_wait() and exitlog_daemon_wait() */
    if (qatomic_read(&sleeping)) {
        signal_fd(kick_fd);
    }
    exitlog_daemon_wake();
}

void exitlog_nudge(void)
{
    if (!qatomic_read(&sleeping)) {
        exitlog_interrupt_current();
    }
}

void exitlog_vcpu_wait(int64_t timeout_ns)
{
    struct pollfd pfd = { .fd = kick_fd, .events = POLLIN };
    struct timespec ts = {
        .tv_sec = timeout_ns / NANOSECONDS_PER_SECOND,
        .tv_nsec = timeout_ns % NANOSECONDS_PER_SECOND,
    };
    bool signalled = false;
    uint64_t count;

    if (exitlog_accel_wait(timeout_ns)) {
        return;
    }
    bql_unlock();
    qatomic_set(&sleeping, true);
    smp_mb(); /* pairs with exitlog_kick() */
    if (!qatomic_read(&xl.kicked)) {
        signalled = ppoll(&pfd, 1, timeout_ns < 0 ? NULL : &ts, NULL) > 0;
    }
    qatomic_set(&sleeping, false);
    /* Not seen now, it ends the next wait at once; most waits end by the clock. */
    if (signalled && read(kick_fd, &count, sizeof(count)) < 0) {
        /* EAGAIN: it is read already */
    }
    bql_lock();
    qatomic_set(&xl.kicked, false);
    smp_mb(); /* the caller looks at its queues again */
}

void exitlog_wait_for_daemon(const DaemonSide *seen)
{
    int64_t start = get_clock();

    exitlog_notify();
    bql_unlock();
    exitlog_daemon_wait(seen, &xl.kicked);
    bql_lock();
    qatomic_set(&xl.kicked, false);
    smp_mb(); /* the caller looks at its queues again */
    qatomic_set(&xl.shm->wait_ns, xl.shm->wait_ns + get_clock() - start);
}

void exitlog_io_wake(void)
{
    signal_fd(io_fd);
}

int exitlog_io_wake_fd(void)
{
    return io_fd;
}
