/*
 * Exit log: deliveries of exceptions and interrupts, and which positions are clean.
 *
 * A faulting instruction is un-counted (translate-all.c,
 * cpu_restore_state_from_tb), so one icount can mean "before" or "after" a
 * delivery.  Only "before" can be found again by counting: inject only there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "exitlog/accel/accel.h"
#include "exitlog/accel/tcg/tcg.h"
#include "exitlog/accel/tcg/turns.h"
#include "exitlog/core/state.h"

/*
 * After this many deliveries, each at most an instruction after the one before, one
 * more instruction is counted.  A handler that faults at its first instruction, for
 * ever, is a guest that hangs: its time must go on, and there must be positions, clean
 * ones, at which it can be stopped.
 */
#define STREAK_MAX 8

/* The icount at which an exception or interrupt was last delivered. */
static int64_t delivered_icount = -1;
/* How many of them there. */
static uint32_t delivered_count;
static uint32_t streak;

/* An instruction that was none; also at the end of a budget, on either side. */
static void count_one(CPUState *cpu)
{
    if (cpu->neg.icount_left) {
        cpu->neg.icount_left--;
    } else if (cpu->icount_extra) {
        cpu->icount_extra--;
    } else {
        exitlog_icount_set(exitlog_tcg_icount() + 1);
    }
}

void exitlog_delivered(CPUState *cpu)
{
    int64_t icount = exitlog_icount_executed(cpu);

    streak = icount - delivered_icount <= 1 ? streak + 1 : 1;
    delivered_count = icount == delivered_icount ? delivered_count + 1 : 1;
    delivered_icount = icount;
    if (streak == STREAK_MAX) {
        streak = 0;
        count_one(cpu);
    }
}

void exitlog_deliveries_forget(void)
{
    streak = 0;
}

uint32_t exitlog_phase(int64_t icount)
{
    return icount == delivered_icount ? delivered_count : 0;
}

bool exitlog_tcg_clean(void)
{
    if (xl.suspended) {
        return true; /* where it fell asleep is computed, whatever came before */
    }
    return delivered_icount != exitlog_tcg_icount() && exitlog_unchosen();
}
