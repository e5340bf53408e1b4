/*
 * Exit log: guest time follows host time.
 *
 * Guest time is bias + base_ns + (icount - base_icount) * rate.  The bias moves
 * only while the guest sleeps (position.c); base and rate change only here, at
 * a position, by a record: so guest time stays a function of the position and
 * of the log, is monotonic, and has no steps.
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
#include "exitlog/internal.h"
#include "system/cpus.h"
#include "system/cpu-timers.h"
#include "system/cpu-timers-internal.h"
#include "system/reset.h"
#include "hw/rtc/mc146818rtc.h"
#include <math.h>

#define RATE_ONE (1ULL << 32)
/* Until it is measured: what -icount shift=1 says. */
#define RATE_START (2 * RATE_ONE)
#define RATE_MIN (RATE_ONE / 16)
#define RATE_MAX (64 * RATE_ONE)

/* How often the live side looks. */
#define LOOK_NS (5 * (int64_t)SCALE_MS)
/* An error is to be gone after about so long. */
#define SETTLE_NS (40 * (int64_t)SCALE_MS)
/* Worth a record: a small change if time is off, else only a large one. */
#define ERROR_NS_MIN (2 * (int64_t)SCALE_MS)
#define CHANGE_SMALL 0.02
#define CHANGE_LARGE 0.15
/* Guest time runs at most so much faster or slower than the host's. */
#define HASTE_MAX 4.0
/* Fewer instructions than this measure wake-ups and not execution. */
#define MEASURE_ICOUNT_MIN 1000000
/* Weight of the newest measurement. */
#define MEASURE_WEIGHT 0.3
/* So far behind, guest time steps. */
#define STEP_NS_MIN (4 * (int64_t)SCALE_MS)
/* So far ahead, it is held. */
#define HOLD_NS_MIN (3 * (int64_t)SCALE_MS)
/*
 * Not in this time after a reset: a system that boots measures its clocks by each
 * other, and a step between its starting one and its reading of the other makes it
 * take the one for slow, for good (Linux's pit_calibrate_tsc keeps the least of
 * three).  The rate alone then mends what is off, for all clocks alike.
 */
#define CALIBRATING_NS (10 * NANOSECONDS_PER_SECOND)

static int64_t base_icount;
static int64_t base_ns;
static uint64_t rate = RATE_START;
static int64_t origin_ns; /* CLOCK_REALTIME at guest time 0; 0: not known */
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

static void set_rate(uint64_t new_rate)
{
    seqlock_write_lock(&timers_state.vm_clock_seqlock,
                       &timers_state.vm_clock_lock);
    base_ns = exitlog_icount_to_ns(timers_state.qemu_icount);
    base_icount = timers_state.qemu_icount;
    rate = new_rate;
    seqlock_write_unlock(&timers_state.vm_clock_seqlock,
                         &timers_state.vm_clock_lock);
}

/* For checkpoints: the whole state of this clock. */
void exitlog_clock_get(int64_t *icount, int64_t *ns, uint64_t *now_rate,
                       int64_t *origin, int64_t *reset_ns)
{
    *icount = base_icount;
    *ns = base_ns;
    *now_rate = rate;
    *origin = origin_ns;
    *reset_ns = reset_at_ns;
}

void exitlog_clock_set(int64_t icount, int64_t ns, uint64_t new_rate,
                       int64_t origin, int64_t reset_ns)
{
    base_icount = icount;
    base_ns = ns;
    rate = new_rate;
    origin_ns = origin;
    reset_at_ns = reset_ns;
}

int64_t exitlog_clock_origin_ns(void)
{
    return origin_ns;
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
void exitlog_clock_apply(const struct exitlog_record *r)
{
    if (r->channel == EXITLOG_CLOCK_ORIGIN) {
        origin_ns = r->arg;
    } else if (r->channel == EXITLOG_CLOCK_RTC) {
        set_rtc(r->arg);
    } else if (r->channel == EXITLOG_CLOCK_RATE && r->arg >= RATE_MIN &&
               r->arg <= RATE_MAX) {
        set_rate(r->arg);
    } else if (r->channel == EXITLOG_CLOCK_STEP &&
               (int64_t)r->arg >= icount_get()) {
        exitlog_warp_to(r->arg);
    } else {
        exitlog_diverge(r, "a clock record that this version does not know");
    }
}

static void log_and_apply(unsigned channel, uint64_t arg)
{
    struct exitlog_record r = { .channel = channel, .arg = arg };

    exitlog_emit(EXITLOG_CLOCK, channel, 0, arg, NULL);
    exitlog_clock_apply(&r);
}

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

static void measure(int64_t now_ns)
{
    int64_t insns = timers_state.qemu_icount - speed.icount;
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
    speed.icount = timers_state.qemu_icount;
    speed.stopped_ns = stopped_ns;
}

static uint64_t wanted_rate(int64_t error_ns)
{
    double haste = 1 + (double)error_ns / SETTLE_NS;

    haste = clamp(haste, 1 / HASTE_MAX, HASTE_MAX);
    return clamp(speed.ns_per_insn * haste * RATE_ONE, RATE_MIN, RATE_MAX);
}

/* Is it time to look?  Also asked by a vCPU that makes no visits. */
bool exitlog_clock_due(int64_t now_ns, int64_t vtime_ns)
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
bool exitlog_clock_steer(void)
{
    int64_t now = get_clock();
    int64_t vtime = icount_get();
    int64_t real, error;
    uint64_t next;
    double change;
    bool step;

    /* Asleep, guest time stands still on purpose; waking sets it right. */
    if (all_cpu_threads_idle()) {
        return false;
    }
    if (!origin_ns) {
        log_and_apply(EXITLOG_CLOCK_ORIGIN, exitlog_realtime_ns() - vtime);
        if (!timers_state.qemu_icount) {
            log_and_apply(EXITLOG_CLOCK_RTC, origin_ns);
        }
    }
    real = exitlog_real_at(now);
    error = real - vtime;
    step = error >= STEP_NS_MIN && (vtime - reset_at_ns >= CALIBRATING_NS ||
                                    !timers_state.qemu_icount);
    if (exitlog_clock_due(now, vtime)) {
        looked_at_ns = now;
        measure(now);
        held = error <= -HOLD_NS_MIN;
        if (speed.ns_per_insn) {
            int64_t rest = step ? 0 : error;

            next = held ? RATE_MIN : wanted_rate(rest);
            change = fabs((double)next / rate - 1);
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

static void clock_reset(void *opaque)
{
    reset_at_ns = icount_get();
}

void exitlog_clock_init(void)
{
    qemu_register_reset(clock_reset, NULL);
}
