/*
 * Exit log: all vCPUs stand still, and guest time does.
 *
 * A vCPU that executes leaves its block and waits; one that sleeps is not even woken, since
 * whatever would wake it needs the BQL.  So the pause is that of the slowest block, and of
 * as few threads as there are busy vCPUs.
 *
 * Guest time stands for the sake of what is saved meanwhile.  Afterwards it is what it would
 * have been: to the guest a cut looks like a host that was busy.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/seqlock.h"
#include "qemu/timer.h"
#include "hw/core/cpu.h"
#include "system/cpu-timers.h"
#include "system/cpu-timers-internal.h"
#include "exitlog/accel/multi/still.h"

static int64_t clock_offset; /* while time stands: as before */
static int64_t ticks_offset;

/* When it was that this process began: to know how many ticks a nanosecond has. */
static int64_t began_ns;
static int64_t began_ticks;

void exitlog_still_init(void)
{
    began_ns = get_clock();
    began_ticks = cpu_get_host_ticks();
}

void exitlog_still_begin(void)
{
    /* A vCPU in the middle of an instruction may need it to come to its end. */
    bql_unlock();
    start_exclusive();
    bql_lock();
    clock_offset = timers_state.cpu_clock_offset;
    ticks_offset = timers_state.cpu_ticks_offset;
    cpu_disable_ticks();
}

void exitlog_still_end(void)
{
    seqlock_write_lock(&timers_state.vm_clock_seqlock,
                       &timers_state.vm_clock_lock);
    timers_state.cpu_clock_offset = clock_offset;
    timers_state.cpu_ticks_offset = ticks_offset;
    timers_state.cpu_ticks_enabled = 1;
    seqlock_write_unlock(&timers_state.vm_clock_seqlock,
                         &timers_state.vm_clock_lock);
    end_exclusive();
}

void exitlog_still_step(int64_t ns)
{
    double ticks_per_ns = (double)(cpu_get_host_ticks() - began_ticks) /
        (get_clock() - began_ns);

    seqlock_write_lock(&timers_state.vm_clock_seqlock,
                       &timers_state.vm_clock_lock);
    timers_state.cpu_clock_offset += ns;
    timers_state.cpu_ticks_offset += ns * ticks_per_ns;
    seqlock_write_unlock(&timers_state.vm_clock_seqlock,
                         &timers_state.vm_clock_lock);
}
