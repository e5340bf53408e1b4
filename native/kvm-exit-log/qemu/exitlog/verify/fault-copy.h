/*
 * Exit log: writes that an epoch must not have, on purpose (fault-copy.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VERIFY_FAULT_COPY_H
#define EXITLOG_VERIFY_FAULT_COPY_H

#include "exec/ramblock.h"
#include "exitlog/exitlog.h"

void exitlog_fault_copy_configure(const char *writer, bool unhooked);
/* Every epoch is copied after the guest has gone on, and slowly. */
bool exitlog_fault_copy_is_on(void);
/* A cut begins; or the guest may go on, and nothing was copied yet. */
void exitlog_fault_copy_cut(void);
void exitlog_fault_copy_write(void);
/* In the pause: this page will be copied; then: this is what it was copied as. */
void exitlog_fault_copy_keep(const RAMBlock *block, uint64_t page);
void exitlog_fault_copy_compare(uint64_t page, const uint8_t *copy);

#endif
