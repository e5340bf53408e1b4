/*
 * Exit log: what debug.c and debug-hits.c share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_DEBUG_H
#define EXITLOG_DEBUG_H

#include "internal.h"

/* A break- or watchpoint met: where it was about to be executed. */
typedef struct DebugHit {
    int64_t icount;
    uint64_t addr;
    uint32_t phase;
    int32_t cpu_index;
    char kind; /* b: breakpoint; w, r, a: written, read, either; 0: none */
} DebugHit;

/* Changed by the main loop while the guest waits, else by the vCPU thread. */
typedef struct ExitlogDebug {
    bool running;        /* on the way to (icount, phase) */
    bool pause;          /* any thread */
    bool at_end;
    char mode;           /* s: stop at hits; l: list them; p: pass over them */
    int64_t icount;
    uint32_t phase;
    int64_t from_icount; /* where the run began */
    uint32_t from_phase;
    DebugHit hit;        /* mode s: that stops it */
} ExitlogDebug;

extern ExitlogDebug xd;

void exitlog_debug_list(const DebugHit *hit);

#endif
