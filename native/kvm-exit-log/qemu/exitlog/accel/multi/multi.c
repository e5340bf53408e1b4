/*
 * Exit log: what TCG with a thread for each vCPU gives (accel/accel.h).
 *
 * Nothing counts instructions, and two vCPUs are at no common one: a position is guest
 * time, in both of its parts, and is met by nobody again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "hw/core/cpu.h"
#include "system/cpu-timers.h"
#include "exitlog/accel/multi/loop.h"
#include "exitlog/accel/multi/multi.h"
#include "exitlog/accel/multi/still.h"
#include "exitlog/core/state.h"

static void init(void (*progress)(Position now))
{
    if (icount_enabled() || !qemu_tcg_mttcg_enabled()) {
        exitlog_fail("-exitlog inputs=off needs -accel tcg,thread=multi, and no -icount");
    }
    exitlog_still_init();
}

static int64_t vtime_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

static Position position(void)
{
    int64_t now = vtime_ns();

    return (Position) { .icount = now, .vtime_ns = now };
}

/* Whatever the vCPUs do: nobody has to find it again. */
static bool clean(void)
{
    return true;
}

const ExitlogAccel exitlog_accel_multi = {
    .init = init,
    .start = exitlog_loop_start,
    .position = position,
    .icount = vtime_ns,
    .vtime_ns = vtime_ns,
    .interrupt = exitlog_loop_visit_soon,
    .clean = clean,
    .wait = exitlog_loop_wait,
    .stand_still = exitlog_still_begin,
    .go_on = exitlog_still_end,
};
