/*
 * Exit log: disk requests in flight as a part of the state.
 *
 * Who goes on from a state issues them again: the guest was not told of them, so it cannot
 * know whether they were done, and done twice they are done.  A digest, and a
 * checkpoint that a replay starts from, have none of it; a cut has (cut/epoch.c).
 *
 * BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exitlog/exits/block-request.h"
#include "exitlog/exits/block-saved.h"

static bool saving;

void exitlog_blk_save(bool saves)
{
    saving = saves;
}

bool exitlog_blk_saves(void)
{
    return saving;
}

void exitlog_blk_each_saved(BlockBackend *blk,
                            void (*each)(void *opaque, QEMUFile *f), QEMUFile *f)
{
    Request *r;

    for (r = saving ? exitlog_blk_oldest(blk) : NULL; r; r = exitlog_blk_after(r)) {
        if (r->blk == blk) {
            each(r->common.opaque, f);
        }
    }
}

bool exitlog_blk_unsaved(void)
{
    Request *r;

    for (r = exitlog_blk_oldest(NULL); r; r = exitlog_blk_after(r)) {
        if (!r->kept) {
            return true;
        }
    }
    return false;
}
