/*
 * Exit log: what a guest that has taken this process over would do (fault-escape.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VERIFY_FAULT_ESCAPE_H
#define EXITLOG_VERIFY_FAULT_ESCAPE_H

/* On the vCPU's thread; what other threads are to try they do soon. */
void exitlog_fault_escape(void);

#endif
