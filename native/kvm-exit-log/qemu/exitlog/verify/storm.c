/*
 * Exit log: a storm of kicks, for tests.
 *
 * EXITLOG_KICKS=US in the environment: a thread kicks the vCPU thread after
 * random pauses of up to so many microseconds.  Kicks may come at any time and
 * change nothing, so a storm on either side must not show in a digest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "exitlog/core/kick.h"
#include "exitlog/verify/storm.h"

static unsigned pause_us_max;
static QemuThread thread;

static void *storm(void *opaque)
{
    g_autoptr(GRand) random = g_rand_new();

    rcu_register_thread();
    for (;;) {
        g_usleep(1 + g_rand_int_range(random, 0, pause_us_max));
        exitlog_kick();
    }
    return NULL;
}

void exitlog_storm_start(void)
{
    const char *us = getenv("EXITLOG_KICKS");

    pause_us_max = us ? atoi(us) : 0;
    if (pause_us_max) {
        qemu_thread_create(&thread, "exitlog-storm", storm, NULL,
                           QEMU_THREAD_DETACHED);
    }
}
