/*
 * Exit log: events of a live VM that can end an epoch.
 *
 * All of them happen on the vCPU thread with the BQL held, as cuts do: what has happened when
 * a cut is made is in it, and asks for no other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "exitlog/core/events.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"

QEMU_BUILD_BUG_ON(EXITLOG_EVENT_COUNT > EXITLOG_EVENT_KINDS_MAX);

static bool due;
static enum exitlog_event cause; /* the first since the last cut; valid if due */

static void count(uint64_t *of)
{
    qatomic_set(of, *of + 1);
}

void exitlog_event(enum exitlog_event event)
{
    if (!xl.live) {
        return;
    }
    count(&xl.shm->events[event]);
    if (!due && exitlog_state_is_on() &&
        (qatomic_read(&xl.shm->epoch_events) & 1ULL << event)) {
        due = true;
        cause = event;
        exitlog_kick(); /* in the middle of an instruction, say */
    }
}

/* With positions a visit does it, and says so. */
void exitlog_timers_ran(void)
{
    if (!exitlog_exact()) {
        exitlog_event(EXITLOG_EVENT_TIMER);
    }
}

void exitlog_event_of_record(enum exitlog_kind kind)
{
    switch (kind) {
    case EXITLOG_NET_OUT:
        return exitlog_event(EXITLOG_EVENT_NET_OUT);
    case EXITLOG_CHAR_OUT:
        return exitlog_event(EXITLOG_EVENT_CHAR_OUT);
    case EXITLOG_NET_IN:
        return exitlog_event(EXITLOG_EVENT_NET_IN);
    case EXITLOG_CHAR_IN:
        return exitlog_event(EXITLOG_EVENT_CHAR_IN);
    case EXITLOG_BLK_DONE:
        return exitlog_event(EXITLOG_EVENT_DISK_DONE);
    case EXITLOG_ENTROPY:
        return exitlog_event(EXITLOG_EVENT_ENTROPY);
    default:
        return;
    }
}

bool exitlog_event_is_due(void)
{
    return due && exitlog_state_is_on() && exitlog_state_has_cut();
}

void exitlog_event_cut(void)
{
    if (due) {
        due = false;
        count(&xl.shm->event_cuts[cause]);
    }
}
