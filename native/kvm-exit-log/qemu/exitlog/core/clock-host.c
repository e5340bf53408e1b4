/*
 * Exit log: what guest time should be, by the host's clocks.
 *
 * The live side has guest time follow its host's CLOCK_MONOTONIC, which has no steps,
 * and slews it to where CLOCK_REALTIME says that the guest's time of day ought to be:
 * the host's clock may be stepped, and that of a survivor's host be another.  What
 * the guest sees of a difference between two clocks is a rate, never a gap.
 *
 * A survivor goes on from where the primary's guest time would be now.  The primary's
 * horizons tell: each one's guest time less the moment of its arrival here is the
 * primary's offset to our clock, less the way of that horizon.  The greatest of late had
 * the shortest way.
 *
 * All of it on the vCPU thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/timer.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/clock-host.h"
#include "exitlog/core/state.h"

/* How often the host's time of day is looked at. */
#define LOOK_NS (5 * (int64_t)SCALE_MS)
/* Guest time is this part faster or slower while it is slewed. */
#define SLEW_PART 20
/* Further off than this it is not slewed: docs/failure-model.md, the daemon says so. */
#define SLEW_NS_MAX (10 * NANOSECONDS_PER_SECOND)
/* A look that took longer was interrupted, and shows nothing. */
#define READ_NS_MAX (100 * (int64_t)SCALE_US)
/* A look counts no more: a process that was stopped does not make up for that at once. */
#define ELAPSED_NS_MAX NANOSECONDS_PER_SECOND
/* Horizons are remembered for this time, to twice that. */
#define HEARD_NS (5 * NANOSECONDS_PER_SECOND)

static int64_t origin_ns; /* CLOCK_REALTIME at guest time 0; 0: not known */
static int64_t offset_ns; /* guest time less CLOCK_MONOTONIC */
static bool anchored;     /* offset_ns is known */
static int64_t looked_at_ns;

/* The greatest offset of the primary's guest time to our clock. */
static struct {
    int64_t since_ns;
    int64_t now_ns;    /* since then */
    int64_t before_ns; /* before that */
} heard = { .now_ns = INT64_MIN, .before_ns = INT64_MIN };

int64_t exitlog_realtime_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_HOST);
}

void exitlog_clock_heard(int64_t vtime_ns)
{
    static int64_t last_ns;
    int64_t now;

    if (vtime_ns == last_ns) {
        return;
    }
    last_ns = vtime_ns;
    now = get_clock();
    if (now - heard.since_ns >= HEARD_NS) {
        heard.before_ns = heard.now_ns;
        heard.now_ns = INT64_MIN;
        heard.since_ns = now;
    }
    heard.now_ns = MAX(heard.now_ns, vtime_ns - now);
}

static void anchor(int64_t now_ns)
{
    int64_t primary_ns = MAX(heard.now_ns, heard.before_ns);

    offset_ns = MAX(exitlog_vtime_ns() - now_ns, primary_ns);
    looked_at_ns = now_ns;
    anchored = true;
}

/* Guest time moves towards the host's time of day. */
static void slew(int64_t now_ns)
{
    int64_t elapsed = MIN(now_ns - looked_at_ns, ELAPSED_NS_MAX);
    int64_t before = get_clock();
    int64_t host = exitlog_realtime_ns();
    int64_t behind = host - origin_ns - (before + offset_ns);

    if (!origin_ns || get_clock() - before > READ_NS_MAX) {
        return;
    }
    looked_at_ns = now_ns;
    qatomic_set(&xl.shm->clock_behind_ns, behind);
    if (ABS(behind) <= SLEW_NS_MAX) {
        offset_ns += CLAMP(behind, -elapsed / SLEW_PART, elapsed / SLEW_PART);
    }
}

int64_t exitlog_real_at(int64_t now_ns)
{
    if (!anchored) {
        anchor(now_ns);
    }
    if (now_ns - looked_at_ns >= LOOK_NS) {
        slew(now_ns);
    }
    return now_ns + offset_ns;
}

int64_t exitlog_real_ns(void)
{
    return exitlog_real_at(get_clock());
}

int64_t exitlog_origin_ns(void)
{
    return origin_ns;
}

void exitlog_origin_set(int64_t realtime_ns)
{
    origin_ns = realtime_ns;
}
