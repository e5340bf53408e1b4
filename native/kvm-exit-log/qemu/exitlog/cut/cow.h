/*
 * Exit log: copy on write of main memory, while an epoch is copied (cow.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_COW_H
#define EXITLOG_CUT_COW_H

#include "exec/ramblock.h"

/* Before the guest runs. */
void cow_init(void);

/* While the guest stands still: whether a page can be copied later, and that it will be. */
bool cow_is_possible(const RAMBlock *block, uint64_t page);
void cow_want(uint64_t page);
/* The guest may go on: its first write to a page that is wanted keeps a copy. */
void cow_begin(void);

/* Any thread, once for each that is wanted: the page as it was when the guest stood still. */
void cow_take(uint64_t page, uint8_t *into);
/* All were taken. */
void cow_end(void);

#endif
