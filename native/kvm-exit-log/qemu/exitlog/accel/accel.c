/*
 * Exit log: asks the accelerator in use.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exitlog/accel/accel.h"

static const ExitlogAccel *accel;

void exitlog_accel_use(const ExitlogAccel *which)
{
    accel = which;
}

void exitlog_accel_init(void (*progress)(Position now))
{
    accel->init(progress);
}

void exitlog_accel_start(void)
{
    accel->start();
}

Position exitlog_position(void)
{
    return accel->position();
}

int64_t exitlog_icount(void)
{
    return accel->icount();
}

int64_t exitlog_vtime_ns(void)
{
    return accel->vtime_ns();
}

void exitlog_interrupt_current(void)
{
    accel->interrupt();
}

bool exitlog_clean(void)
{
    return accel->clean();
}

bool exitlog_accel_wait(int64_t timeout_ns)
{
    if (!accel->wait) {
        return false;
    }
    accel->wait(timeout_ns);
    return true;
}

void exitlog_stand_still(void)
{
    if (accel->stand_still) {
        accel->stand_still();
    }
}

void exitlog_go_on(void)
{
    if (accel->go_on) {
        accel->go_on();
    }
}
