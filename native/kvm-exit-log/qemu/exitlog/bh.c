/*
 * Exit log: bottom halves that the guest caused.
 *
 * They run at the next visit, in order.  The scheduling instruction touches a
 * device, so it is the last of its block (translator_io_start,
 * cpu_io_recompile), and the exit asked for here is taken right after it: the
 * same position on both sides, with no record.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "internal.h"

static GQueue pending = G_QUEUE_INIT;

void exitlog_bh_schedule(QEMUBH *bh)
{
    if (g_queue_find(&pending, bh)) {
        return; /* like qemu_bh_schedule: scheduled once is enough */
    }
    g_queue_push_tail(&pending, bh);
    exitlog_kick();
}

bool exitlog_bh_run(void)
{
    QEMUBH *bh;
    bool progress = false;

    while ((bh = g_queue_pop_head(&pending))) {
        aio_bh_call(bh);
        progress = true;
    }
    return progress;
}
