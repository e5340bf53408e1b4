/*
 * Exit log: what changes a disk waits for the backup.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_BLOCK_COMMIT_H
#define EXITLOG_EXITS_BLOCK_COMMIT_H

#include "system/block-backend.h"

/* Its requests in flight are in the state of its device, and are issued when that is loaded. */
bool exitlog_blk_is_kept(BlockBackend *blk);

/* What the guest asked for in that epoch is not the disk's yet. */
bool exitlog_blk_waits_for_commit(uint64_t epoch);
/* That was said of one since this was asked last: it may be the disk's turn now. */
bool exitlog_blk_commit_look(void);
/* One waited when it was looked at last. */
bool exitlog_blk_commit_holds(void);

#endif
