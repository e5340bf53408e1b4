/*
 * Exit log: positions.
 *
 * A position is (icount, virtual time).  Virtual time is bias + a function of
 * icount (time.c); the bias changes only while the vCPU is idle.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/seqlock.h"
#include "hw/core/cpu.h"
#include "system/cpu-timers.h"
#include "system/cpu-timers-internal.h"
#include "exitlog/accel/tcg/tcg.h"

Position exitlog_tcg_position(void)
{
    return (Position) {
        .icount = icount_get_raw(),
        .vtime_ns = icount_get(),
    };
}

int64_t exitlog_tcg_icount(void)
{
    return timers_state.qemu_icount;
}

int64_t exitlog_tcg_vtime_ns(void)
{
    return icount_get();
}

/* As icount_get_executed(), without folding it into the global count. */
int64_t exitlog_icount_executed(CPUState *cpu)
{
    return timers_state.qemu_icount + cpu->icount_budget -
        (cpu->neg.icount_left + cpu->icount_extra);
}

void exitlog_icount_set(int64_t icount)
{
    seqlock_write_lock(&timers_state.vm_clock_seqlock,
                       &timers_state.vm_clock_lock);
    qatomic_set_i64(&timers_state.qemu_icount, icount);
    seqlock_write_unlock(&timers_state.vm_clock_seqlock,
                         &timers_state.vm_clock_lock);
}
