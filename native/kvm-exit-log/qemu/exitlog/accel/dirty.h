/*
 * Exit log: which pages of guest memory were written (dirty.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_DIRTY_H
#define EXITLOG_DIRTY_H

#include "exec/ramblock.h"

typedef enum ExitlogDirtyClient {
    EXITLOG_DIRTY_DIGEST,
    EXITLOG_DIRTY_CHECKPOINT,
    EXITLOG_DIRTY_EPOCH,
    EXITLOG_DIRTY_CLIENTS,
} ExitlogDirtyClient;

/* block_no: 0, 1, … in an order that does not change; page: within the block. */
typedef void ExitlogDirtyFn(unsigned block_no, RAMBlock *block,
                            unsigned long page, void *opaque);

/* Before the machine is made. */
void exitlog_dirty_init(void);

/*
 * Each page written since this client's last call, once; the first time: every
 * page.  A page beyond used_length may be among them.
 */
void exitlog_dirty_take(ExitlogDirtyClient client, ExitlogDirtyFn *each,
                        void *opaque);

/* The block's number; -1: it has none yet, or not all that is written to it is noted. */
int exitlog_dirty_block_no(const RAMBlock *block);
/* A page of such a block was written since this client's last call. */
bool exitlog_dirty_has(ExitlogDirtyClient client, unsigned block_no,
                       unsigned long page);

#endif
