/*
 * Exit log: what a kind of exit is.
 *
 * A kind of exit is a file of exits/ with what it does live and in a replay side
 * by side, and a row of one table (kinds.c).  Whoever deals with all of them asks
 * here, and names none.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_EXITS_H
#define EXITLOG_CORE_EXITS_H

#include "exitlog/exitlog_abi.h"

/* A kind of record, and what a replay does when it comes to one. */
typedef struct ExitlogRecordKind {
    enum exitlog_kind kind;
    const char *name;
    /*
     * One of these; none: the guest itself asks for it in an instruction.
     * apply: an input, at its position.  check: a statement about the guest at
     * this position; it consumes the record.  match: an output, wherever the guest
     * makes it; true if it has been made, and the record is consumed.
     */
    void (*apply)(const struct exitlog_record *r);
    void (*check)(const struct exitlog_record *r);
    bool (*match)(const struct exitlog_record *r);
} ExitlogRecordKind;

/* A kind of exit.  Every member but `records` may be NULL. */
typedef struct ExitlogExit {
    const ExitlogRecordKind *records; /* the last one has no name */

    /* Before the machine's devices are made, and when all back ends are. */
    void (*create)(void);
    void (*start)(void);

    /* Both sides: a visit begins. */
    void (*visit)(void);

    /* Live, at a clean position, before injections; true: timers may be due. */
    bool (*steer)(void);
    /* Live, also while the guest computes: a visit is wanted at this time. */
    bool (*due)(int64_t now_ns, int64_t vtime_ns);
    /* Live: an input waits for a clean position. */
    bool (*pending)(void);
    /* Live: log one input and hand it to its device; true if there was one. */
    bool (*inject)(void);

    /* Live: what the guest has put out becomes a record. */
    void (*flush)(void);
    /* Live: it holds as many outputs as it may. */
    bool (*is_full)(void);
    /* Live: all its outputs have left. */
    bool (*has_drained)(void);

    /* Why no checkpoint can be made now; NULL: it can. */
    const char *(*unquiet)(void);
    /* Live: wait for one input that would make it quiet, inject it. */
    bool (*finish_one)(void);

    /* Live: the log is about to end. */
    void (*end)(void);
    /* The log to replay is used up: from here on this side is the live one. */
    void (*go_live)(void);
} ExitlogExit;

/* exits: in the order in which they inject; NULL after the last. */
void exitlog_exits_register(const ExitlogExit *const *exits);

/* NULL: the log has what this version does not know. */
const ExitlogRecordKind *exitlog_record_kind(unsigned kind);
const char *exitlog_record_name(unsigned kind);

void exitlog_exits_create(void);
void exitlog_exits_start(void);
void exitlog_exits_visit(void);
bool exitlog_exits_steer(void);
bool exitlog_exits_due(int64_t now_ns, int64_t vtime_ns);
bool exitlog_exits_pending(void);
bool exitlog_exits_inject(void);
void exitlog_exits_flush(void);
bool exitlog_exits_full(void);
bool exitlog_exits_drained(void);
const char *exitlog_exits_unquiet(void);
bool exitlog_exits_finish_one(void);
void exitlog_exits_end(void);
void exitlog_exits_go_live(void);

#endif
