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
/*
 * Live, where guest time is the host's and no record says so: the time of day begins with a
 * guest that was switched on just now.
 */
void exitlog_clock_begin(void);

#endif
