/*
 * Exit log: a guest that sleeps in S3.
 *
 * It falls asleep as if by a bottom half, at the visit right after the instruction
 * that asked for it.  From then on all its vCPUs count as halted: the vCPU thread goes
 * on making visits, guest time passes, timers run, inputs are injected.  What wakes the
 * guest (the RTC's alarm, an input) is found at a visit, at a position; like a reset,
 * the wake-up is then the main loop's, while the vCPU is parked.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/vmstate.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "exitlog/core/bh.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/suspend.h"

/* The VM's state, as it is saved: equal on both sides at equal positions. */
static struct {
    bool asleep;          /* xl.suspended */
    uint32_t wakeup_mask; /* what may wake it; elsewhere no part of a state */
} suspend;
static uint32_t wakeup_mask_start;

static void fall_asleep(void *opaque)
{
    if (!xl.suspended && runstate_is_running()) {
        xl.suspended = true;
        qemu_system_suspend_now();
    }
}

bool exitlog_suspend_request(void)
{
    if (exitlog_on()) {
        exitlog_bh_schedule_oneshot(fall_asleep, NULL);
    }
    return exitlog_on();
}

void exitlog_suspend_woken(void)
{
    xl.suspended = false;
    cpu_stop_current();
}

void exitlog_suspend_press(void)
{
    qemu_system_wakeup_request(QEMU_WAKEUP_REASON_OTHER, NULL);
}

void exitlog_suspend_cut_short(void)
{
    if (xl.suspended) {
        xl.suspended = false;
        runstate_set(RUN_STATE_RUNNING);
    }
}

/* A VM that was loaded in its sleep has been started like any other. */
void exitlog_suspend_visit(void)
{
    if (xl.suspended && runstate_is_running()) {
        runstate_set(RUN_STATE_SUSPENDED);
    }
}

static bool suspend_needed(void *opaque)
{
    return xl.suspended || qemu_system_wakeup_mask() != wakeup_mask_start;
}

static int suspend_pre_save(void *opaque)
{
    suspend.asleep = xl.suspended;
    suspend.wakeup_mask = qemu_system_wakeup_mask();
    return 0;
}

static int suspend_post_load(void *opaque, int version_id)
{
    xl.suspended = suspend.asleep;
    qemu_system_set_wakeup_mask(suspend.wakeup_mask);
    return 0;
}

static const VMStateDescription vmstate_suspend = {
    .name = "exitlog-suspend",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = suspend_needed,
    .pre_save = suspend_pre_save,
    .post_load = suspend_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_BOOL(asleep, typeof(suspend)),
        VMSTATE_UINT32(wakeup_mask, typeof(suspend)),
        VMSTATE_END_OF_LIST()
    },
};

void exitlog_suspend_start(void)
{
    wakeup_mask_start = qemu_system_wakeup_mask();
    vmstate_register(NULL, 0, &vmstate_suspend, &suspend);
}
