/*
 * Exit log: main memory of an epoch is copied while the guest runs on (epoch-copy.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_EPOCH_COPY_H
#define EXITLOG_CUT_EPOCH_COPY_H

/* While the guest stands still: this page of main memory, the block of that number, too. */
void epoch_copy_add(unsigned block_no, uint64_t page);
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
