/*
 * Exit log: a replay under a debugger.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_DEBUG_DEBUG_H
#define EXITLOG_DEBUG_DEBUG_H

#include "exitlog/accel/accel.h"

void exitlog_debug_configure(bool on);
/* A visit begins: true if the guest has to wait before what devices do now. */
bool exitlog_debug_holds_before(void);
/* At a visit: true if the guest has to wait here. */
bool exitlog_debug_holds(Position now);
/* Where the next run of instructions has to end. */
int64_t exitlog_debug_stop(int64_t icount);
/* The log is used up, and its digest is as it was recorded. */
void exitlog_debug_end(void);
bool exitlog_debug_ended(void);

#endif
