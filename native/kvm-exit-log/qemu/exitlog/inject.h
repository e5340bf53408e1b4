/*
 * Exit log: injections, one record at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_INJECT_H
#define EXITLOG_INJECT_H

/* Live: take one input from a back end, log it, hand it to its device. */
bool exitlog_inject_live(void);
/*
 * Replay: apply the next record if its position is here.  Returns false if the
 * log has no record yet.  Otherwise *icount is -1 when one was used, or the
 * position of the next one, which is ahead.
 */
bool exitlog_inject_replay(int64_t *icount, int64_t *vtime_ns);

#endif
