/*
 * Exit log: guest time follows host time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_CLOCK_H
#define EXITLOG_EXITS_CLOCK_H

/* Guest time of the last reset. */
int64_t exitlog_clock_reset_ns(void);
void exitlog_clock_reset_set(int64_t vtime_ns);

#endif
