/*
 * Exit log: how a log ends: in END, or by going live.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_END_H
#define EXITLOG_END_H

#include "exitlog/exitlog_abi.h"

/*
 * Failover's last step: the log is used up, the position is the horizon.
 * From here on inputs come from the back ends and are logged into OUT.
 */
void exitlog_go_live(void);

/* Live: somebody wants the log to end. */
bool exitlog_end_wanted(void);
void exitlog_end(enum exitlog_end reason);
/*
 * Replay reached the end: the log's DIGEST (r, or the next record if the guest
 * itself powered off), then END.
 */
void exitlog_end_replay(const struct exitlog_record *r);

#endif
