/*
 * Exit log: the visit where each vCPU has a thread of its own.
 *
 * Nobody executes the log again, so nothing has to happen at a position.  The main loop takes
 * in, while the vCPUs run, what waits for the guest; they stand still for a cut, and are
 * paused while the guest has to wait for the daemon.  All that the log has, and all that an
 * epoch is made of, changes under the BQL only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/timer.h"
#include "hw/core/cpu.h"
#include "system/runstate.h"
#include "exitlog/accel/accel.h"
#include "exitlog/accel/multi/loop.h"
#include "exitlog/accel/multi/still.h"
#include "exitlog/core/bh.h"
#include "exitlog/core/clock-host.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/epoch.h"
#include "exitlog/cut/image.h"
#include "exitlog/end.h"
#include "exitlog/exits/clock.h"
#include "exitlog/inject.h"
#include "exitlog/verify/digest.h"
#include "exitlog/visit-multi.h"

/* What one visit takes in; the main loop has other work, too. */
#define INJECTIONS_MAX 48
/* The daemon is shown that the main loop lives (shm.visits). */
#define VISIT_NS_MAX (500 * (int64_t)SCALE_MS)
/* What is due and could not be done: the guest is to get something done meanwhile. */
#define RETRY_NS (500 * (int64_t)SCALE_US)
/* A survivor whose clock is further behind goes on from where it was. */
#define STEP_NS_MAX (10 * NANOSECONDS_PER_SECOND)

static void settle(void)
{
    while (exitlog_bh_run()) {
    }
}

/*
 * Guest time stands.  A timer that is due runs before the cut: not every device is loaded right
 * that has one which is late.  A periodic comparator of the HPET would come again only when its
 * counter has wrapped, 43 s later.
 */
static void settle_timers(void)
{
    bool ran;

    do {
        settle();
        ran = qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL,
                                         ~QEMU_TIMER_ATTR_EXTERNAL) == 0 &&
            qemu_clock_run_timers(QEMU_CLOCK_VIRTUAL);
        if (ran) {
            exitlog_timers_ran();
        }
    } while (ran);
}

static bool must_wait(void)
{
    return !exitlog_out_has_room() || exitlog_exits_full() ||
        exitlog_epoch_must_wait();
}

/* Then the guest goes no further, but what it has done is still cut and shipped. */
static bool is_at_bound(void)
{
    return exitlog_icount() >= (int64_t)MIN(qatomic_read(&xl.shm->icount_max), INT64_MAX);
}

/*
 * Holds the guest if it has to wait.  The io thread hears of what the daemon does then, and
 * asks for a visit.  Returns true if nothing else can be done before.
 */
static bool wait_for_daemon(void)
{
    static int64_t since_ns; /* 0: it does not wait */
    bool waits, holds;

    qatomic_set(&xl.shm->daemon_wanted, 1);
    smp_mb(); /* pairs with the daemon's: it has changed something, and looks at this */
    waits = must_wait();
    holds = waits || is_at_bound();
    exitlog_loop_hold(holds);
    if (holds) {
        since_ns = since_ns ? since_ns : get_clock();
        exitlog_notify();
        return waits;
    }
    qatomic_set(&xl.shm->daemon_wanted, 0);
    if (since_ns) {
        qatomic_set(&xl.shm->wait_ns, xl.shm->wait_ns + get_clock() - since_ns);
        since_ns = 0;
    }
    return false;
}

/* A cut, or pages that go ahead of the first one. */
static void cut(void)
{
    if (exitlog_epoch_left_ns() > 0) {
        return;
    }
    exitlog_stand_still();
    do {
        settle_timers();
    } while (exitlog_epoch_visit());
    exitlog_go_on();
}

static void take_in(void)
{
    for (int n = 0; exitlog_inject_live(); n++) {
        settle();
        if (n == INJECTIONS_MAX) {
            exitlog_kick();
            return;
        }
    }
}

static void end(void)
{
    exitlog_loop_hold(true);
    exitlog_stand_still();
    do {
        settle();
    } while (exitlog_epoch_last());
    exitlog_go_on();
    exitlog_end(xl.shutdown_cause ? EXITLOG_END_POWEROFF : EXITLOG_END_STOP);
}

/* How much less the guest's time of day is than the host's. */
static int64_t behind_ns(void)
{
    return exitlog_realtime_ns() - exitlog_origin_ns() - exitlog_vtime_ns();
}

/* The VM goes on from the image.  Guest time was that of the cut. */
static void go_live(void)
{
    int64_t behind;

    exitlog_go_live();
    settle(); /* disk requests that the other side had in flight */
    if (qatomic_read(&xl.shm->epoch_digests)) {
        struct exitlog_digest d = exitlog_digest();

        exitlog_emit(EXITLOG_DIGEST, EXITLOG_DIGEST_PERIODIC, sizeof(d), 0, &d);
    }
    behind = behind_ns();
    if (behind > 0 && behind < STEP_NS_MAX) {
        exitlog_still_step(behind);
    }
    vm_start();
}

static void visit_live(void)
{
    int64_t left;

    settle();
    exitlog_exits_visit();
    if (wait_for_daemon()) {
        exitlog_loop_visit_in(VISIT_NS_MAX);
        return;
    }
    exitlog_exits_flush();
    if (exitlog_end_wanted()) {
        end();
        return;
    }
    cut();
    if (!wait_for_daemon()) {
        take_in();
    }
    qatomic_set(&xl.shm->clock_behind_ns, behind_ns());
    if (exitlog_running(first_cpu)) { /* else it stays where it was */
        exitlog_publish(exitlog_position());
    }
    exitlog_notify();
    left = MIN(exitlog_epoch_left_ns(), VISIT_NS_MAX);
    exitlog_loop_visit_in(MAX(left, RETRY_NS));
}

/* It may have been all that a cut waited for. */
void exitlog_vcpu_sleeps(void)
{
    if (!exitlog_exact() && exitlog_epoch_left_ns() == 0) {
        exitlog_kick();
    }
}

void exitlog_visit_multi(void)
{
    qatomic_set(&xl.kicked, false);
    smp_mb(); /* before looking at any queue */
    if (xl.ended) {
        return;
    }
    exitlog_is_alive();
    if (exitlog_image_is_due()) {
        exitlog_loop_visit_in(VISIT_NS_MAX);
        if (!exitlog_image_take()) {
            exitlog_notify();
            return;
        }
        go_live();
    }
    if (!runstate_is_running()) {
        return;
    }
    exitlog_clock_begin();
    visit_live();
}
