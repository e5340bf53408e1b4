/*
 * Exit log: disk requests that end in the middle of an instruction.
 *
 * A drain, or a request that the guest takes back: what came of it is the host's
 * affair as ever, so the log has it, at the position that the guest chose.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "exitlog/core/bh.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/block-here.h"
#include "exitlog/exits/block-request.h"
#include "exitlog/exits/console.h"
#include "exitlog/exits/disk-error.h"

bool exitlog_blk_here;

/* Replay, in an instruction or a reset: what the log has came of it. */
static int logged_outcome(const Request *r)
{
    const struct exitlog_record *rec;

    while ((rec = exitlog_peek_wait())) {
        int32_t ret = (int32_t)rec->len;

        if (rec->kind == EXITLOG_CHAR_OUT && exitlog_console_match(rec)) {
            continue;
        }
        if ((int64_t)rec->icount == exitlog_position().icount) {
            if (rec->kind == EXITLOG_BLK_DATA) {
                exitlog_disk_data_apply(rec);
                exitlog_consume();
                continue;
            }
            if (rec->kind == EXITLOG_BLK_DONE && rec->arg == r->id &&
                rec->channel == r->disk) {
                exitlog_disk_replayed(r, ret);
                exitlog_consume();
                return ret;
            }
        }
        exitlog_diverge(rec, "the guest resets a device, or takes back its disk "
                        "request %" PRIu64, r->id);
    }
    exitlog_blk_log_outcome(r); /* the log ends here: this side will go live */
    return r->ret;
}

static int finish_here(Request *r)
{
    bool outer = exitlog_blk_here;

    exitlog_blk_here = true;
    exitlog_blk_admit(r);
    if (r->held) {
        exitlog_blk_set_done(r);
    }
    AIO_WAIT_WHILE(NULL, !r->done);
    exitlog_blk_here = outer;
    if (xl.ended) {
        return r->ret;
    }
    if (!xl.live) {
        return logged_outcome(r);
    }
    exitlog_blk_log_outcome(r);
    return r->ret;
}

void exitlog_blk_cancel(BlockAIOCB *acb)
{
    Request *r = container_of(acb, Request, common);

    if (!exitlog_blk_is_behind(r)) {
        finish_here(r);
    }
    exitlog_blk_complete(r, -ECANCELED);
}

/* Before QEMU waits: completions can issue more, and schedule bottom halves. */
void exitlog_blk_drain(BlockBackend *blk)
{
    Request *r;

    if (!exitlog_on() || xl.ended || exitlog_blk_channel(blk) < 0) {
        return;
    }
    do {
        while ((r = exitlog_blk_oldest(blk))) {
            exitlog_blk_complete(r, finish_here(r));
        }
    } while (exitlog_bh_run());
}
