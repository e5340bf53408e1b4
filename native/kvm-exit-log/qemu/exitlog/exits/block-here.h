/*
 * Exit log: disk requests that end in the middle of an instruction.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_BLOCK_HERE_H
#define EXITLOG_EXITS_BLOCK_HERE_H

#include "block/aio.h"
#include "exitlog/exitlog.h" /* exitlog_blk_drain() */

extern bool exitlog_blk_here; /* the guest waits in an instruction */

/*
 * The guest takes a request back, and is told that it was cancelled.  On both
 * sides it has reached the disk, or had to wait for another one and has not.
 */
void exitlog_blk_cancel(BlockAIOCB *acb);

#endif
