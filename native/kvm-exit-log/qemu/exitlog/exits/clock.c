/*
 * Exit log: guest time follows host time.
 *
 * Guest time is bias + base_ns + (icount - base_icount) * rate.  The bias moves
 * only while the guest sleeps, or by a step; base and rate change only here.  All of
 * that happens at a position, by a record (idle time follows from the guest's timers
 * and the records), so guest time is a function of the position and of the log.  It
 * never goes back.
 *
 * The live side measures how fast the guest executes and chooses the rate with
 * which guest time keeps up with host time: clock-host.c says what it should be.
 *
 * Time of day begins with the guest: the first records say what CLOCK_REALTIME was
 * at guest time 0, and set the RTC by it, to the nanosecond.  QEMU's -rtc base is of
 * when the daemon started, and of whole seconds.
 *
 * What a rate cannot mend soon is a step forward, also by a record: the guest did
 * not run, because its host ran something else or the backup was waited for.  The
 * other way there are no steps: guest time that is too far ahead, because the guest's
 * code became faster, all but stands still until the host's has caught up.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "hw/rtc/mc146818rtc.h"
#include "system/cpus.h"
#include "system/reset.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/clock-host.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/clock.h"
#include <math.h>

#define RATE_ONE (1ULL << 32)
#define RATE_MIN (RATE_ONE / 16)
#define RATE_MAX (64 * RATE_ONE)

/* How often the live side looks. */
#define LOOK_NS (5 * (int64_t)SCALE_MS)
/* An error is to be gone after about this time. */
#define SETTLE_NS (40 * (int64_t)SCALE_MS)
/* Worth a record: a small change if time is off, else only a large one. */
#define ERROR_NS_MIN (2 * (int64_t)SCALE_MS)
#define CHANGE_SMALL 0.02
#define CHANGE_LARGE 0.15
/* Guest time is at most this many times faster or slower than the host's. */
#define HASTE_MAX 4.0
/* Fewer instructions than this measure wake-ups and not execution. */
#define MEASURE_ICOUNT_MIN 1000000
/* Weight of the newest measurement. */
#define MEASURE_WEIGHT 0.3
/* Guest time that is this far behind steps. */
#define STEP_NS_MIN (4 * (int64_t)SCALE_MS)
/* Guest time that is this far ahead is held. */
#define HOLD_NS_MIN (3 * (int64_t)SCALE_MS)
/*
 * Not in this time after a reset: a system that boots measures its clocks by each
 * other, and a step between its starting one and its reading of the other makes it
 * take the one for slow, for good (Linux's pit_calibrate_tsc keeps the least of
 * three).  The rate alone then mends what is off, for all clocks alike.
 */
#define CALIBRATING_NS (10 * NANOSECONDS_PER_SECOND)

static int64_t reset_at_ns; /* guest time of the last reset */

static int64_t looked_at_ns;
static bool held; /* at RATE_MIN, until host time has caught up */

/* How fast the guest executes: since `at_ns`, and as known before. */
static struct {
    int64_t at_ns;
    int64_t icount;
    int64_t stopped_ns;
    double ns_per_insn; /* 0: not measured yet */
} speed;

/* For checkpoints: beside the rate and the origin, all that this clock keeps. */
int64_t exitlog_clock_reset_ns(void)
{
    return reset_at_ns;
}

void exitlog_clock_reset_set(int64_t vtime_ns)
{
    reset_at_ns = vtime_ns;
}

/* The RTC shows UTC: it was realtime_ns at guest time 0. */
static void set_rtc(int64_t realtime_ns)
{
    Object *rtc = object_resolve_type_unambiguous(TYPE_MC146818_RTC, NULL);

    if (rtc) {
        mc146818rtc_set_base(MC146818_RTC(rtc), realtime_ns);
    }
}

/* Either side, at the record's position. */
static void apply(const struct exitlog_record *r)
{
    if (r->channel == EXITLOG_CLOCK_ORIGIN) {
        exitlog_origin_set(r->arg);
    } else if (r->channel == EXITLOG_CLOCK_RTC) {
        set_rtc(r->arg);
    } else if (r->channel == EXITLOG_CLOCK_RATE && r->arg >= RATE_MIN &&
               r->arg <= RATE_MAX) {
        exitlog_rate_change(r->arg);
    } else if (r->channel == EXITLOG_CLOCK_STEP &&
               (int64_t)r->arg >= exitlog_vtime_ns()) {
        exitlog_warp_to(r->arg);
    } else {
        exitlog_diverge(r, "a clock record that this version does not know");
    }
}

static void log_and_apply(unsigned channel, uint64_t arg)
{
    struct exitlog_record r = { .channel = channel, .arg = arg };

    exitlog_emit(EXITLOG_CLOCK, channel, 0, arg, NULL);
    apply(&r);
}

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

static void measure(int64_t now_ns)
{
    int64_t insns = exitlog_icount() - speed.icount;
    /*
     * Neither asleep nor waiting for the daemon did it execute.  A wait is made up
     * for by a step: as slowness it would have guest time run ahead of the host's
     * between two waits.
     */
    int64_t stopped_ns = xl.shm->idle_ns + xl.shm->wait_ns;
    int64_t busy_ns = now_ns - speed.at_ns - (stopped_ns - speed.stopped_ns);

    if (speed.at_ns && insns < MEASURE_ICOUNT_MIN) {
        return; /* the window grows */
    }
    if (speed.at_ns && busy_ns > 0) {
        double sample = (double)busy_ns / insns;
        double weight = speed.ns_per_insn ? MEASURE_WEIGHT : 1;

        speed.ns_per_insn += weight * (sample - speed.ns_per_insn);
    }
    speed.at_ns = now_ns;
    speed.icount = exitlog_icount();
    speed.stopped_ns = stopped_ns;
}

static uint64_t wanted_rate(int64_t error_ns)
{
    double haste = 1 + (double)error_ns / SETTLE_NS;

    haste = clamp(haste, 1 / HASTE_MAX, HASTE_MAX);
    return clamp(speed.ns_per_insn * haste * RATE_ONE, RATE_MIN, RATE_MAX);
}

/* Is it time to look?  Also asked by a vCPU that makes no visits. */
static bool due(int64_t now_ns, int64_t vtime_ns)
{
    int64_t ahead;

    if (!xl.live) {
        return false;
    }
    ahead = vtime_ns - exitlog_real_at(now_ns);
    return now_ns - looked_at_ns >= LOOK_NS ||
           (held ? ahead <= 0 : ahead >= HOLD_NS_MIN);
}

/*
 * Live, at a clean position: look, and log a step or another rate if one is
 * needed.  Returns true if timers may be due now.
 */
static bool steer(void)
{
    int64_t now = get_clock();
    int64_t vtime = exitlog_vtime_ns();
    int64_t real, error;
    uint64_t next;
    double change;
    bool step;

    /* Asleep, guest time stands still on purpose; waking sets it right. */
    if (all_cpu_threads_idle()) {
        return false;
    }
    if (!exitlog_origin_ns()) {
        log_and_apply(EXITLOG_CLOCK_ORIGIN, exitlog_realtime_ns() - vtime);
        if (!exitlog_icount()) {
            log_and_apply(EXITLOG_CLOCK_RTC, exitlog_origin_ns());
        }
    }
    real = exitlog_real_at(now);
    error = real - vtime;
    step = error >= STEP_NS_MIN && (vtime - reset_at_ns >= CALIBRATING_NS ||
                                    !exitlog_icount());
    if (due(now, vtime)) {
        looked_at_ns = now;
        measure(now);
        held = error <= -HOLD_NS_MIN;
        if (speed.ns_per_insn) {
            int64_t rest = step ? 0 : error;

            next = held ? RATE_MIN : wanted_rate(rest);
            change = fabs((double)next / exitlog_rate().rate - 1);
            if (change >= (ABS(rest) >= ERROR_NS_MIN ? CHANGE_SMALL
                                                     : CHANGE_LARGE)) {
                log_and_apply(EXITLOG_CLOCK_RATE, next);
            }
        }
    }
    if (!step) {
        return false;
    }
    log_and_apply(EXITLOG_CLOCK_STEP, real);
    return true;
}

void exitlog_clock_begin(void)
{
    if (!exitlog_origin_ns()) {
        exitlog_origin_set(exitlog_realtime_ns() - exitlog_vtime_ns());
        set_rtc(exitlog_origin_ns());
    }
}

static void clock_reset(void *opaque)
{
    reset_at_ns = exitlog_vtime_ns();
}

static void start(void)
{
    qemu_register_reset(clock_reset, NULL);
}

static const ExitlogRecordKind records[] = {
    { .kind = EXITLOG_CLOCK, .name = "clock", .apply = apply },
    { /* end of list */ }
};

const ExitlogExit exitlog_clock_exit = {
    .records = records,
    .start = start,
    .steer = steer,
    .due = due,
};
