/*
 * Exit log: what came of disk requests, and those that fail.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_DISK_ERROR_H
#define EXITLOG_EXITS_DISK_ERROR_H

#include "exitlog/exitlog_abi.h"
#include "exitlog/exits/block-request.h"

void exitlog_disk_failing_configure(const char *policy);
/* A request has come back.  True: nobody is to hear of it yet.  Main loop, BQL. */
bool exitlog_disk_failing_hold(Request *r);

/* Live, before the guest hears of the request, or never will.  BQL. */
void exitlog_disk_outcome(const Request *r);
/* The same, and the completion's record. */
void exitlog_blk_log_outcome(const Request *r);
/* Live, at the log's end: nobody will read it later. */
void exitlog_disk_settle_doubts(void);

/* Replay: what came of it here, beside what the log says. */
void exitlog_disk_replayed(const Request *r, int logged);
void exitlog_disk_data_apply(const struct exitlog_record *rec);

#endif
