/*
 * Exit log: how far the vCPUs run.
 *
 * TCG stops exactly at a count: its budget ends there (tcg-accel-ops-icount.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/seqlock.h"
#include "hw/core/cpu.h"
#include "system/cpu-timers.h"
#include "system/cpu-timers-internal.h"
#include "exitlog/accel/accel.h"
#include "exitlog/accel/tcg/tcg.h"
#include "exitlog/core/state.h"

static int64_t stop_icount = INT64_MAX;
static void (*progress)(Position now);

void exitlog_tcg_init(void (*on_progress)(Position now))
{
    if (!icount_enabled()) {
        exitlog_fail("-exitlog needs -icount: without it no position exists");
    }
    progress = on_progress;
}

void exitlog_run_until(int64_t icount)
{
    stop_icount = icount;
}

int64_t exitlog_limit(int64_t limit)
{
    return MIN(limit, MAX(0, stop_icount - timers_state.qemu_icount));
}

/* cpu-exec.c refills a vCPU's count, after it was folded into the global one. */
void exitlog_refill(CPUState *cpu)
{
    exitlog_is_alive();
    if (cpu->icount_budget == 0) {
        return; /* the visit that follows may still put out something here */
    }
    progress((Position) {
        .icount = timers_state.qemu_icount,
        .vtime_ns = timers_state.qemu_icount_bias +
                    icount_to_ns(timers_state.qemu_icount),
    });
}
