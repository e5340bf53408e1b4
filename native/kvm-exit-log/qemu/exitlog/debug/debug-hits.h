/*
 * Exit log: break- and watchpoints of a debugger, and where its guest is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_DEBUG_DEBUG_HITS_H
#define EXITLOG_DEBUG_DEBUG_HITS_H

#include "exitlog/exitlog.h" /* exitlog_debug_on, exitlog_debug_breakpoint() … */

#define DEBUG_BY_MAX 64

/* A break- or watchpoint met: where it was about to be executed. */
typedef struct DebugHit {
    int64_t icount;
    uint64_t addr;
    int32_t phase;
    int32_t cpu_index;
    char kind; /* b: breakpoint; w, r, a: written, read, either; 0: none */
    char by[DEBUG_BY_MAX]; /* not the CPU but a device: which (debug-writes.c) */
} DebugHit;

/* Changed by the main loop while the guest waits, else by the vCPU thread. */
typedef struct ExitlogDebug {
    bool running;        /* on the way to (icount, phase) */
    bool pause;          /* any thread */
    bool at_end;
    char mode;           /* s: stop at hits; l: list them; p: pass over them */
    int64_t icount;
    int32_t phase;
    int64_t from_icount; /* where the run began */
    int32_t from_phase;
    bool before;         /* it waits before what devices do at its position */
    DebugHit hit;        /* mode s: that stops it */
} ExitlogDebug;

extern ExitlogDebug xd;

/* A search lists them; the same access may be seen twice. */
void exitlog_debug_list(const DebugHit *hit);
void exitlog_debug_forget_list(void);
uint64_t exitlog_debug_listed(void);
/* `hit` as a part of an answer; and those listed, as many as are told. */
void exitlog_debug_put_hit(GString *text, const DebugHit *hit);
void exitlog_debug_put_list(GString *text);

int32_t exitlog_debug_phase_at(int64_t icount);
DebugHit exitlog_debug_hit(CPUState *cpu, char kind, int64_t icount,
                           uint64_t addr);
char exitlog_debug_kind(int flags);

#endif
