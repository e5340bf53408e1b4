/*
 * Exit log: the hash of guest memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VERIFY_RAM_DIGEST_H
#define EXITLOG_VERIFY_RAM_DIGEST_H

uint64_t exitlog_ram_digest(void);
/* The same value, from memory itself; into dump, if given, page by page. */
uint64_t exitlog_ram_digest_full(FILE *dump);

#endif
