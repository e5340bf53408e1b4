/*
 * Exit log: writes that an epoch must not have, on purpose (fault-copy.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VERIFY_FAULT_COPY_H
#define EXITLOG_VERIFY_FAULT_COPY_H

#include "exitlog/exitlog.h"

void exitlog_fault_copy_configure(const char *writer, bool unhooked);
/* Every epoch is copied after the guest has gone on, and slowly. */
bool exitlog_fault_copy_is_on(void);
/* A cut begins; or the guest may go on, and nothing was copied yet. */
void exitlog_fault_copy_cut(void);
void exitlog_fault_copy_write(void);

#endif
