/*
 * Exit log: a disk request of the guest, and the list of those in flight.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_BLOCK_REQUEST_H
#define EXITLOG_EXITS_BLOCK_REQUEST_H

#include "system/block-backend.h"
#include "exitlog/exitlog.h"

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
    BlockCompletionFunc *host_done; /* the host finished it: r, its result */
    int ret;
    bool refused;      /* too large for any guest that means well */
    bool admitted;     /* it has its bounce buffer, if it needs one */
    bool submitted;
    int64_t submitted_ns; /* host's */
    bool done;
    bool held;         /* nobody hears of it yet: it found no room, and is tried again, or */
    bool failed;       /* … this disk fails it, and the backup's may not */
    bool kept;         /* of a device that saves it (virtio-blk, SCSI) */
    QTAILQ_ENTRY(Request) next;
} Request;

static inline bool request_changes_data(const Request *r)
{
    return r->op == EXITLOG_BLK_WRITE || r->op == EXITLOG_BLK_ZEROES ||
        r->op == EXITLOG_BLK_DISCARD;
}

static inline const char *request_name(const Request *r)
{
    return r->op == EXITLOG_BLK_READ ? "a read" :
        r->op == EXITLOG_BLK_FLUSH ? "a flush" : "a write";
}

/* Who keeps account of what is written to the disks (cut/checkpoint-disk.c).  BQL. */
typedef struct ExitlogBlkWatch {
    /* What changes data goes to the disk. */
    void (*writes)(int disk, int64_t offset, int64_t bytes);
    /* It must wait, and will be submitted again: somebody reads there. */
    bool (*must_wait)(int disk, int64_t offset, int64_t bytes);
} ExitlogBlkWatch;

void exitlog_blk_watch(const ExitlogBlkWatch *watch);
/* Called whenever a request goes to the disk.  BQL. */
void exitlog_blk_on_submit(void (*who)(void));
void exitlog_blk_writes(int disk, int64_t offset, int64_t bytes);
bool exitlog_blk_must_wait(int disk, int64_t offset, int64_t bytes);

int exitlog_blk_channel(BlockBackend *blk);       /* -1: none of ours */

/* A new one; what it has in flight is the host's from here on, if it may be. */
void exitlog_blk_issue(Request *r);
/* Though bounce buffers take all they may: the guest waits in an instruction. */
void exitlog_blk_admit(Request *r);
/* What may go to the disk now, for others are done.  BQL. */
void exitlog_blk_resubmit(void);
void exitlog_blk_set_done(Request *r);
void exitlog_blk_set_held(Request *r);
/* Tell the guest: copy what was read, run the device's completion. */
void exitlog_blk_complete(Request *r, int ret);
void exitlog_blk_try_again(void);                 /* what found no room */
bool exitlog_blk_holds(void);                     /* any */
/* The log is used up: flushes that were answered before they were done are done. */
void exitlog_blk_flush_now(void);
/* For a mark: what may still reach the disk counts as written after it.  BQL. */
void exitlog_blk_mark_unfinished(void);

bool exitlog_blk_is_behind(const Request *r);
Request *exitlog_blk_find(uint64_t id, int disk); /* or NULL */
Request *exitlog_blk_oldest(BlockBackend *blk);   /* NULL: of all disks; or NULL */
Request *exitlog_blk_oldest_done(void);           /* or NULL */
Request *exitlog_blk_after(Request *r);           /* or NULL */

/* Requests are numbered in the order in which they are issued. */
uint64_t exitlog_blk_next_id(void);
void exitlog_blk_set_next_id(uint64_t id);

#endif
