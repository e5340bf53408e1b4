/*
 * Exit log: the visit.
 *
 * Everything that can change guest-visible state happens here, on the vCPU
 * thread, at the top of the round-robin loop: the BQL is held, no instruction
 * is half done, the position is exact.  Other threads only enqueue and kick.
 *
 * Same order on both sides: bottom halves and expired timers until stable,
 * then one injection, then again until stable, and so on; at last the horizon
 * is offered.  A visit without an injection changes nothing, so the two sides
 * need not make the same visits.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/timer.h"
#include "exitlog/core/bh.h"
#include "exitlog/core/clock-host.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/events.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint.h"
#include "exitlog/cut/checkpoint-load.h"
#include "exitlog/cut/checkpoint-request.h"
#include "exitlog/cut/epoch.h"
#include "exitlog/cut/image.h"
#include "exitlog/debug/debug.h"
#include "exitlog/end.h"
#include "exitlog/inject.h"
#include "exitlog/verify/digest.h"
#include "exitlog/verify/fault.h"
#include "exitlog/verify/periodic.h"
#include "exitlog/verify/probe.h"
#include "exitlog/visit.h"

/* Injections in one visit: bounded by the room checked before it. */
#define INJECTIONS_MAX 48
/*
 * While the guest computes without exits, the daemon hears of progress: a horizon
 * of the live side is waited for; of a replay's, only a person is told.
 */
#define NOTIFY_PERIOD_NS ((xl.live ? 1 : 20) * (int64_t)SCALE_MS)
/* An idle vCPU still shows that it lives (shm.visits). */
#define IDLE_NS_MAX (500 * (int64_t)SCALE_MS)

/* As this visit found it. */
static DaemonSide seen;
static int64_t notified_at_ns;

/* A free moment to offer a horizon. */
void exitlog_progress(Position p)
{
    int64_t now;

    exitlog_publish(p);
    now = get_clock();
    if (exitlog_exits_due(now, p.vtime_ns)) {
        exitlog_kick(); /* a guest without timers makes no visits of its own */
    }
    if (xl.news == EXITLOG_NEWS_PACKET ||
        now - notified_at_ns >= NOTIFY_PERIOD_NS) {
        notified_at_ns = now;
        exitlog_notify();
    }
}

/* Nanoseconds until the guest's next timer; -1: none. */
static int64_t timer_deadline_ns(void)
{
    return qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL,
                                      ~QEMU_TIMER_ATTR_EXTERNAL);
}

static void settle(void)
{
    bool progress;

    do {
        progress = exitlog_bh_run();
        if (timer_deadline_ns() == 0 &&
            qemu_clock_run_timers(QEMU_CLOCK_VIRTUAL)) {
            progress = true;
            exitlog_event(EXITLOG_EVENT_TIMER);
        }
    } while (progress);
}

/* New records are told at once, progress alone about every millisecond. */
static void publish_and_notify(bool idle)
{
    static uint64_t told_head;
    static Position told;
    Position p = exitlog_position();
    uint64_t head = xl.shm->out.head;
    int64_t now;

    exitlog_publish(p);
    if (head == told_head && p.icount == told.icount &&
        p.vtime_ns == told.vtime_ns) {
        return;
    }
    now = get_clock();
    if (head != told_head || idle ||
        now - notified_at_ns >= NOTIFY_PERIOD_NS) {
        told_head = head;
        told = p;
        notified_at_ns = now;
        exitlog_notify();
    }
}

static void live_idle(void)
{
    int64_t start = get_clock();
    int64_t vtime = exitlog_vtime_ns();
    int64_t deadline = timer_deadline_ns();
    int64_t real = exitlog_real_ns();

    if (deadline < 0 || vtime + deadline > real) {
        int64_t left = deadline < 0 ? INT64_MAX : vtime + deadline - real;

        exitlog_vcpu_wait(MIN(left, MIN(IDLE_NS_MAX, exitlog_epoch_left_ns())));
    }
    real = exitlog_real_ns();
    if (deadline >= 0 && real >= vtime + deadline) {
        exitlog_warp_to(vtime + deadline);
    } else if (exitlog_exits_pending()) {
        /* Woken early: the injection's record carries the partial warp. */
        exitlog_warp_to(MAX(vtime, real));
    }
    qatomic_set(&xl.shm->idle_ns, xl.shm->idle_ns + get_clock() - start);
}

/* Live, at a clean position: somebody wants the log to end. */
static void live_end(CPUState *cpu)
{
    while (exitlog_epoch_last()) {
        settle();
        if (!exitlog_running(cpu)) {
            return;
        }
    }
    exitlog_end(xl.shutdown_cause ? EXITLOG_END_POWEROFF : EXITLOG_END_STOP);
}

/* Live: checkpoints and ends of epochs that are due.  False: the guest was stopped. */
static bool live_cut(CPUState *cpu)
{
    while (exitlog_clean() && exitlog_checkpoint_visit()) {
        settle();
        if (!exitlog_running(cpu)) {
            return false;
        }
    }
    while (exitlog_clean() && exitlog_epoch_visit()) {
        settle();
        if (!exitlog_running(cpu)) {
            return false;
        }
    }
    return true;
}

/* Returns true when the vCPU may run (or has other work to do). */
static bool visit_live(CPUState *cpu)
{
    int64_t icount_max = MIN(qatomic_read(&xl.shm->icount_max), INT64_MAX);
    int64_t icount, stop;

    checkpoint_request_marks();
    if (!exitlog_out_has_room() || exitlog_exits_full() ||
        exitlog_epoch_must_wait()) {
        exitlog_wait_for_daemon(&seen);
        return exitlog_has_work();
    }
    exitlog_exits_flush();
    if (exitlog_end_wanted() && exitlog_clean()) {
        live_end(cpu);
        return true;
    }
    if (exitlog_clean() && !exitlog_epoch_stands() && exitlog_exits_steer()) {
        settle();
        if (!exitlog_running(cpu)) {
            return true;
        }
    }
    exitlog_digest_visit();
    if (!live_cut(cpu)) {
        return true;
    }
    if (exitlog_epoch_must_wait()) {
        publish_and_notify(false);
        return false;
    }
    for (int n = 0; exitlog_clean() && exitlog_inject_live(); n++) {
        settle();
        if (!exitlog_running(cpu)) {
            return true;
        }
        if (n == INJECTIONS_MAX) {
            exitlog_kick();
            break;
        }
    }
    publish_and_notify(exitlog_asleep());
    if (exitlog_has_work()) {
        return true;
    }
    if (exitlog_event_is_due() && exitlog_clean()) {
        return false; /* it was injected: the next turn cuts, and then it goes on */
    }
    if (exitlog_asleep()) {
        live_idle();
        return exitlog_has_work();
    }
    icount = exitlog_icount();
    if (icount >= icount_max) {
        exitlog_wait_for_daemon(&seen);
        return exitlog_has_work();
    }
    stop = MIN(MIN(icount_max, exitlog_digest_stop(icount)),
               exitlog_fault_visit(icount));
    if (!exitlog_clean() && (exitlog_exits_pending() ||
                             exitlog_end_wanted() ||
                             checkpoint_request_wanted() ||
                             exitlog_exits_due(get_clock(), exitlog_vtime_ns()))) {
        stop = icount + 1;
    }
    exitlog_run_until(stop);
    return true;
}

/* The log is used up up to here: wait for more, or go live if asked to. */
static void replay_at_end_of_log(void)
{
    if (exitlog_control(EXITLOG_CTL_GO_LIVE) && !exitlog_peek()) {
        exitlog_go_live();
    } else {
        exitlog_wait_for_daemon(&seen);
    }
}

/* The guest sleeps: until its next timer, or for as long as the log says. */
static void replay_idle(Position now, Position h)
{
    int64_t deadline = timer_deadline_ns();
    int64_t target = deadline < 0 ? INT64_MAX : now.vtime_ns + deadline;

    if (now.icount >= h.icount) {
        target = MIN(target, h.vtime_ns);
    }
    if (target == INT64_MAX) {
        exitlog_diverge(exitlog_peek(), "the guest sleeps with no timer set, "
                        "but the log goes on to icount %" PRId64, h.icount);
    }
    if (target > now.vtime_ns) {
        exitlog_warp_to(target);
    } else {
        replay_at_end_of_log();
    }
}

static bool visit_replay(CPUState *cpu)
{
    int64_t icount_max = MIN(qatomic_read(&xl.shm->icount_max), INT64_MAX);
    int64_t record_icount, record_vtime, stop;
    bool have_record;
    Position now, h;

    if (exitlog_debug_ended() && exitlog_debug_holds(exitlog_position())) {
        exitlog_wait_for_daemon(&seen);
        return exitlog_has_work();
    }
    if (xl.shutdown_cause && exitlog_clean()) {
        exitlog_end_replay(NULL);
        return true;
    }
    exitlog_checkpoint_ahead();
    /* Read the horizon before looking for records: as the producer, mirrored */
    h = exitlog_in_horizon();
    smp_rmb();
    exitlog_clock_heard(h.vtime_ns);
    do {
        have_record = exitlog_inject_replay(&record_icount, &record_vtime);
        settle();
        if (xl.ended || exitlog_debug_ended() || !exitlog_running(cpu)) {
            return true;
        }
    } while (have_record && record_icount < 0);
    publish_and_notify(false);
    if (exitlog_has_work()) {
        return true;
    }
    now = exitlog_position();
    if (have_record) {
        h.icount = record_icount;
        h.vtime_ns = record_vtime;
    } else {
        h = exitlog_in_covers(h);
    }
    if (now.icount >= icount_max || exitlog_debug_holds(now)) {
        exitlog_wait_for_daemon(&seen); /* replay --until; a debugger */
        return exitlog_has_work();
    }
    if (exitlog_asleep()) {
        replay_idle(now, h);
        return exitlog_has_work();
    }
    if (now.icount < h.icount) {
        stop = MIN(MIN(h.icount, icount_max),
                   MIN(exitlog_fault_visit(now.icount),
                       exitlog_probe_visit(now)));
        exitlog_run_until(MIN(stop, exitlog_debug_stop(now.icount)));
        return true;
    }
    if (have_record) {
        exitlog_diverge(exitlog_peek(), "the guest is awake at a position "
                        "where the log has it asleep");
    }
    replay_at_end_of_log();
    return exitlog_has_work();
}

/* A VM that has run nothing goes live as the image.  False: it still waits. */
static bool visit_image(void)
{
    if (!exitlog_image_take()) {
        exitlog_wait_for_daemon(&seen);
        return false;
    }
    exitlog_go_live();
    settle(); /* disk requests that the other side had in flight */
    if (qatomic_read(&xl.shm->epoch_digests)) {
        struct exitlog_digest d = exitlog_digest();

        exitlog_emit(EXITLOG_DIGEST, EXITLOG_DIGEST_PERIODIC, sizeof(d), 0, &d);
    }
    return true;
}

void exitlog_visit(CPUState *cpu)
{
    bool may_run = false;

    while (!may_run) {
        qatomic_set(&xl.kicked, false);
        smp_mb(); /* before looking at any queue */
        seen = exitlog_daemon_side();
        smp_rmb();
        if (!exitlog_running(cpu)) {
            return;
        }
        exitlog_is_alive();
        if (unlikely(exitlog_debug_holds_before())) {
            exitlog_wait_for_daemon(&seen);
            may_run = exitlog_has_work();
            continue;
        }
        if (unlikely(exitlog_image_is_due()) && !visit_image()) {
            may_run = exitlog_has_work();
            continue;
        }
        exitlog_checkpoint_start();
        exitlog_exits_visit();
        settle();
        if (!exitlog_running(cpu)) {
            return; /* a timer has reset or woken it: guest time must not go on */
        }
        may_run = xl.live ? visit_live(cpu) : visit_replay(cpu);
    }
}
