/*
 * Exit log: what debug.c, debug-hits.c and debug-writes.c share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_DEBUG_H
#define EXITLOG_DEBUG_H

#include "exitlog/internal.h"

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

/* debug.c */
void exitlog_debug_list(const DebugHit *hit);

/* debug-hits.c */
int32_t exitlog_debug_phase_at(int64_t icount);
DebugHit exitlog_debug_hit(CPUState *cpu, char kind, int64_t icount,
                           uint64_t addr);
int64_t exitlog_debug_executed(CPUState *cpu);
char exitlog_debug_kind(int flags);

/* debug-writes.c */
bool exitlog_debug_physical(const char *text);
int64_t exitlog_debug_translate(uint64_t addr);

#endif
