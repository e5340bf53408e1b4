/*
 * Exit log: guest time as a function of the position.
 *
 * Guest time is bias + base_ns + (icount - base_icount) * rate.  The bias moves
 * only while the guest sleeps; base and rate change only at a position, by a record
 * (exits/clock.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/seqlock.h"
#include "system/cpu-timers.h"
#include "system/cpu-timers-internal.h"
#include "exitlog/accel/accel.h"
#include "exitlog/exitlog.h"

/* Until it is measured: what -icount shift=1 says. */
#define RATE_START (2ULL << 32)

static int64_t base_icount;
static int64_t base_ns;
static uint64_t rate = RATE_START;

/* icount-common.c: guest time without the bias. */
int64_t exitlog_icount_to_ns(int64_t icount)
{
    return base_ns + (int64_t)(((unsigned __int128)(icount - base_icount) *
                                rate) >> 32);
}

/*
 * icount-common.c: instructions from now until guest time has advanced by
 * `ns`, exactly: the first icount at which it has, wherever one counts from.
 */
int64_t exitlog_icount_round(int64_t ns)
{
    int64_t now = timers_state.qemu_icount;
    int64_t target = exitlog_icount_to_ns(now) + ns - base_ns;
    unsigned __int128 scaled = (unsigned __int128)target << 32;

    return base_icount + (int64_t)((scaled + rate - 1) / rate) - now;
}

ExitlogRate exitlog_rate(void)
{
    return (ExitlogRate) {
        .base_icount = base_icount,
        .base_ns = base_ns,
        .rate = rate,
    };
}

void exitlog_rate_set(ExitlogRate new_rate)
{
    base_icount = new_rate.base_icount;
    base_ns = new_rate.base_ns;
    rate = new_rate.rate;
}

void exitlog_rate_change(uint64_t new_rate)
{
    seqlock_write_lock(&timers_state.vm_clock_seqlock,
                       &timers_state.vm_clock_lock);
    base_ns = exitlog_icount_to_ns(timers_state.qemu_icount);
    base_icount = timers_state.qemu_icount;
    rate = new_rate;
    seqlock_write_unlock(&timers_state.vm_clock_seqlock,
                         &timers_state.vm_clock_lock);
}

void exitlog_warp_to(int64_t vtime_ns)
{
    seqlock_write_lock(&timers_state.vm_clock_seqlock,
                       &timers_state.vm_clock_lock);
    qatomic_set_i64(&timers_state.qemu_icount_bias,
                    vtime_ns - icount_to_ns(timers_state.qemu_icount));
    seqlock_write_unlock(&timers_state.vm_clock_seqlock,
                         &timers_state.vm_clock_lock);
}
