/*
 * Exit log: visits in the main loop.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_ACCEL_MULTI_LOOP_H
#define EXITLOG_ACCEL_MULTI_LOOP_H

/* What a visit does: in the main loop, with the BQL, while the vCPUs run. */
void exitlog_loop_visits(void (*visit)(void));
/* The first one is due. */
void exitlog_loop_start(void);
/* Any thread, also a signal handler. */
void exitlog_loop_visit_soon(void);
/* Within a visit: the next one at the latest. */
void exitlog_loop_visit_in(int64_t ns);
/* Within a visit: the main loop's other work, until there was some, or for so long. */
void exitlog_loop_wait(int64_t timeout_ns);

/*
 * Within a visit: no vCPU executes from here on, while the main loop goes on; or they do
 * again.  To be said at each visit: a reset sets them going.
 */
void exitlog_loop_hold(bool hold);

#endif
