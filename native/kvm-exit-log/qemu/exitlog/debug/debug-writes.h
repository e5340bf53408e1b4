/*
 * Exit log: what devices write to memory that a debugger watches.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_DEBUG_DEBUG_WRITES_H
#define EXITLOG_DEBUG_DEBUG_WRITES_H

#include "exitlog/exitlog.h" /* exitlog_debug_written() */
#include "exitlog/exitlog_abi.h"

/* A record is being applied; NULL: no more. */
void exitlog_debug_applies(const struct exitlog_record *r);
/* "VADDR,PHYSICAL,LEN;…" in hexadecimal digits, instead of what was told before. */
bool exitlog_debug_physical(const char *text);
/* An address of the current vCPU, as a physical one; -1: nothing is there. */
int64_t exitlog_debug_translate(uint64_t addr);

#endif
