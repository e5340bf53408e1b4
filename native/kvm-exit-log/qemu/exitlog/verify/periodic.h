/*
 * Exit log: digests in the middle of a log.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VERIFY_PERIODIC_H
#define EXITLOG_VERIFY_PERIODIC_H

#include "exitlog/exitlog_abi.h"

/* instructions: between two of them; 0: none are made. */
void exitlog_digest_configure(int64_t instructions);
/* All of memory, once: best before the guest runs. */
void exitlog_digest_begin(void);
/* Live, at a visit, before its injections. */
void exitlog_digest_visit(void);
/* Live: where the vCPU should stop for a digest, seen from a visit at icount. */
int64_t exitlog_digest_stop(int64_t icount);
/* Also at go-live: nothing is hashed in the moment when clients wait. */
void exitlog_digest_schedule(int64_t icount);

/* Replay: the log's digest at this position against ours. */
void exitlog_digest_compare(const struct exitlog_record *r,
                            const struct exitlog_digest *actual);
/* The same, of a periodic one, which is consumed. */
void exitlog_digest_replay(const struct exitlog_record *r);

#endif
