/*
 * Exit log: main memory of an epoch is copied while the guest runs on (epoch-copy.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_EPOCH_COPY_H
#define EXITLOG_CUT_EPOCH_COPY_H

#include "exec/ramblock.h"

/*
 * While the guest stands still, pages in rising order: this one is to be put; or hashed for a
 * digest.  False: it is none that can be copied later.
 */
bool epoch_copy_put(unsigned block_no, const RAMBlock *block, uint64_t page);
bool epoch_copy_hash(unsigned block_no, const RAMBlock *block, uint64_t page);
/* The digest of memory goes there, in OUT's data, when all of these are hashed. */
void epoch_copy_digest(uint64_t offset);
/*
 * The epoch was cut: puts all of these, and that it is whole.  `at_once`: not later; few are
 * always put at once.
 */
void epoch_copy_start(bool at_once);

/* Some epoch is not whole yet; who is told is kicked when it is. */
bool epoch_copy_is_busy(void);
void epoch_copy_tell(void);
void epoch_copy_wait(void);

#endif
