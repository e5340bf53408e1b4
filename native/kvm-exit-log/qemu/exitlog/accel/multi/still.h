/*
 * Exit log: all vCPUs stand still, and guest time does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_ACCEL_MULTI_STILL_H
#define EXITLOG_ACCEL_MULTI_STILL_H

void exitlog_still_init(void);
/* Within a visit.  Before it returns the vCPUs may still do whatever they do. */
void exitlog_still_begin(void);
void exitlog_still_end(void);
/* A VM that has not been started: its clock and its TSC go forward. */
void exitlog_still_step(int64_t ns);

#endif
