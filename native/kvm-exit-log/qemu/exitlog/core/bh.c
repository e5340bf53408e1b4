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
#include "qemu/osdep.h"
#include "block/aio.h"
#include "exitlog/core/bh.h"
#include "exitlog/core/kick.h"

typedef struct Pending {
    QEMUBH *bh;             /* or, called once: */
    QEMUBHFunc *cb;
    void *opaque;
} Pending;

static GQueue pending = G_QUEUE_INIT;

static void schedule(Pending p)
{
    g_queue_push_tail(&pending, g_memdup2(&p, sizeof(p)));
    exitlog_kick();
}

void exitlog_bh_schedule(QEMUBH *bh)
{
    for (GList *l = pending.head; l; l = l->next) {
        if (((Pending *)l->data)->bh == bh) {
            return; /* like qemu_bh_schedule: scheduled once is enough */
        }
    }
    schedule((Pending) { .bh = bh });
}

void exitlog_bh_forget(QEMUBH *bh)
{
    GList *next;

    for (GList *l = pending.head; l; l = next) {
        Pending *p = l->data;

        next = l->next;
        if (p->bh == bh) {
            g_free(p);
            g_queue_delete_link(&pending, l);
        }
    }
}

void exitlog_bh_schedule_oneshot(QEMUBHFunc *cb, void *opaque)
{
    schedule((Pending) { .cb = cb, .opaque = opaque });
}

bool exitlog_bh_run(void)
{
    Pending *p;
    bool progress = false;

    while ((p = g_queue_pop_head(&pending))) {
        if (p->bh) {
            aio_bh_call(p->bh);
        } else {
            p->cb(p->opaque);
        }
        g_free(p);
        progress = true;
    }
    return progress;
}
