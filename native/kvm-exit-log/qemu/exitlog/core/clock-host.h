/*
 * Exit log: what guest time should be, by the host's clocks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_CLOCK_HOST_H
#define EXITLOG_CORE_CLOCK_HOST_H

/* What guest time should be now, and at now_ns of get_clock(). */
int64_t exitlog_real_ns(void);
int64_t exitlog_real_at(int64_t now_ns);
/* The host's time of day. */
int64_t exitlog_realtime_ns(void);
/* Replaying: a horizon of the primary, as it is met. */
void exitlog_clock_heard(int64_t vtime_ns);
/* The time of day at guest time 0; 0: not known. */
int64_t exitlog_origin_ns(void);
void exitlog_origin_set(int64_t realtime_ns);

#endif
