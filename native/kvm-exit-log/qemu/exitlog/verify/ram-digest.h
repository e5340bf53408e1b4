/*
 * Exit log: the hash of guest memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VERIFY_RAM_DIGEST_H
#define EXITLOG_VERIFY_RAM_DIGEST_H

#include "exec/ramblock.h"

uint64_t exitlog_ram_digest(void);
/*
 * The same of memory as it is now, when the guest runs on: `later` says which pages are kept as
 * they are.  When each of these was given, by any one thread, the end has the value.
 */
typedef bool ExitlogLater(unsigned block_no, const RAMBlock *block, uint64_t page);
void exitlog_ram_digest_begin(ExitlogLater *later);
void exitlog_ram_digest_page(unsigned block_no, uint64_t page, const void *bytes);
uint64_t exitlog_ram_digest_end(void);
/* The same value, from memory itself; into dump, if given, page by page. */
uint64_t exitlog_ram_digest_full(FILE *dump);

#endif
