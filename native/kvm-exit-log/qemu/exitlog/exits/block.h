/*
 * Exit log: a disk request of the guest, for the files that handle one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_BLOCK_H
#define EXITLOG_BLOCK_H

#include "exitlog/internal.h"
#include "system/block-backend.h"

typedef struct Request {
    BlockAIOCB common; /* the caller's: cb, opaque */
    BlockBackend *blk;
    int disk;          /* the record's channel */
    ExitlogBlkOp op;
    uint64_t id;
    int64_t offset;
    int64_t bytes;
    BdrvRequestFlags flags;
    QEMUIOVector *guest;
    QEMUIOVector bounce;
    void *buf;
    int ret;
    bool submitted;
    bool done;
    bool held;         /* it found no room, and will be submitted again */
    QTAILQ_ENTRY(Request) next;
} Request;

static inline bool request_changes_data(const Request *r)
{
    return r->op == EXITLOG_BLK_WRITE || r->op == EXITLOG_BLK_ZEROES ||
        r->op == EXITLOG_BLK_DISCARD;
}

/* block.c */
int exitlog_blk_channel(BlockBackend *blk);       /* -1: none of ours */
Request *exitlog_blk_find(uint64_t id, int disk); /* or NULL */
Request *exitlog_blk_oldest(BlockBackend *blk);   /* or NULL */
bool exitlog_blk_is_behind(const Request *r);
void exitlog_blk_set_done(Request *r);
void exitlog_blk_log_outcome(const Request *r);
void exitlog_blk_complete(Request *r, int ret);
void exitlog_blk_try_again(void);                 /* what is held */
bool exitlog_blk_holds(void);                     /* any */

/* block-here.c */
extern bool exitlog_blk_here; /* the guest waits in an instruction */
void exitlog_blk_cancel(BlockAIOCB *acb);

/* disk-error.c */
void exitlog_disk_outcome(const Request *r);
void exitlog_disk_settle_doubts(void);
void exitlog_disk_replayed(const Request *r, int logged);

/* disk-full.c */
bool exitlog_disk_full_hold(const Request *r);
void exitlog_disk_full_end(void);

#endif
