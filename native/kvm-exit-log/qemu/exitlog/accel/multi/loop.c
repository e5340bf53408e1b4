/*
 * Exit log: visits in the main loop.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "block/aio.h"
#include "hw/core/cpu.h"
#include "system/cpus.h"
#include "exitlog/accel/multi/loop.h"

static void (*visit)(void);
static QEMUBH *bh;            /* NULL: the main loop has not begun */
static QEMUTimer *timer;      /* the next visit */
static QEMUTimer *wait_timer; /* the end of a wait */
static bool visiting;
static bool again; /* one was asked for within a visit */
static bool held;

/*
 * A visit that waits runs the main loop's work, this among it.  So does a vCPU that waits for
 * its disk in an instruction: there it cannot stand still.
 */
static void come(void *opaque)
{
    if (visiting) {
        again = true;
        return;
    }
    if (qemu_in_vcpu_thread()) {
        exitlog_loop_visit_in(0);
        return;
    }
    visiting = true;
    visit();
    visiting = false;
    if (again) {
        again = false;
        qemu_bh_schedule(bh);
    }
}

/* A timer of the main loop is nothing that opening a disk runs, before the first reset. */
static void begin(void *opaque)
{
    if (!bh) {
        qatomic_set(&bh, qemu_bh_new(come, NULL));
    }
    come(NULL);
}

static void nothing(void *opaque)
{
}

void exitlog_loop_visits(void (*what)(void))
{
    visit = what;
}

void exitlog_loop_start(void)
{
    AioContext *ctx = qemu_get_aio_context();

    timer = timer_new_ns(QEMU_CLOCK_REALTIME, begin, NULL);
    wait_timer = aio_timer_new(ctx, QEMU_CLOCK_REALTIME, SCALE_NS, nothing, NULL);
    exitlog_loop_visit_in(0);
}

void exitlog_loop_visit_soon(void)
{
    QEMUBH *b = qatomic_read(&bh);

    if (b) {
        qemu_bh_schedule(b);
    }
}

void exitlog_loop_visit_in(int64_t ns)
{
    timer_mod_ns(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + ns);
}

void exitlog_loop_wait(int64_t timeout_ns)
{
    if (timeout_ns >= 0) {
        timer_mod_ns(wait_timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + timeout_ns);
    }
    aio_poll(qemu_get_aio_context(), true);
    timer_del(wait_timer);
}

static bool all_stopped(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (!cpu->stopped) {
            return false;
        }
    }
    return true;
}

void exitlog_loop_hold(bool hold)
{
    if (hold && !all_stopped()) {
        pause_all_vcpus();
        held = true;
    } else if (!hold && held) {
        held = false;
        resume_all_vcpus();
    }
}
