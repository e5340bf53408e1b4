/*
 * Exit log: break- and watchpoints of a debugger.
 *
 * They are found without changing how the guest runs.  A list of them needs no stop at
 * all: an access knows its instruction, and the instruction its position.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exec/breakpoint.h"
#include "exec/cpu-common.h"
#include "hw/core/cpu.h"
#include "exitlog/accel/accel.h"
#include "exitlog/debug/debug-hits.h"

/* The last ones of a search are told; more would be another search. */
#define HITS_MAX 64

bool exitlog_debug_on;
bool exitlog_debug_phase;
ExitlogDebug xd;

static DebugHit hits[HITS_MAX];
static uint64_t hits_count;

void exitlog_debug_list(const DebugHit *h)
{
    const DebugHit *last = &hits[(hits_count - 1) % HITS_MAX];

    if (hits_count == 0 || memcmp(last, h, sizeof(*h))) {
        hits[hits_count++ % HITS_MAX] = *h;
    }
}

void exitlog_debug_forget_list(void)
{
    hits_count = 0;
    memset(hits, 0, sizeof(hits));
}

uint64_t exitlog_debug_listed(void)
{
    return hits_count;
}

void exitlog_debug_put_hit(GString *text, const DebugHit *h)
{
    g_string_append_printf(text, ";%c,%" PRId64 ",%d,%" PRIx64 ",%d,%s", h->kind,
                           h->icount, h->phase, h->addr, h->cpu_index, h->by);
}

void exitlog_debug_put_list(GString *text)
{
    for (uint64_t n = hits_count - MIN(hits_count, HITS_MAX); n < hits_count; n++) {
        exitlog_debug_put_hit(text, &hits[n % HITS_MAX]);
    }
}

/* As debug.c has it. */
int32_t exitlog_debug_phase_at(int64_t icount)
{
    return 2 * exitlog_phase(icount);
}

DebugHit exitlog_debug_hit(CPUState *cpu, char kind, int64_t icount,
                           uint64_t addr)
{
    DebugHit hit;

    memset(&hit, 0, sizeof(hit)); /* hits are compared as bytes */
    hit.icount = icount;
    hit.addr = addr;
    hit.phase = exitlog_debug_phase_at(icount);
    hit.cpu_index = cpu->cpu_index;
    hit.kind = kind;
    return hit;
}

/*
 * An instruction with a breakpoint is next.  Returns true if the guest is to stop there.
 *
 * With nothing left of the count the next block will not run yet: the loop delivers what
 * is pending, and asks again.  Otherwise it would depend on how blocks are chained
 * whether a breakpoint counts before an interrupt that takes its place.
 */
bool exitlog_debug_breakpoint(CPUState *cpu, vaddr pc)
{
    DebugHit hit;

    if (!xd.running || cpu->neg.icount_left <= 0) {
        return false;
    }
    hit = exitlog_debug_hit(cpu, 'b', exitlog_icount_executed(cpu), pc);
    if (xd.mode == 'l') {
        exitlog_debug_list(&hit);
    }
    if (xd.mode != 's' || xd.hit.kind ||
        (hit.icount == xd.from_icount && hit.phase == xd.from_phase)) {
        return false;
    }
    xd.hit = hit;
    return true;
}

/* Before a block: the guest is at the icount asked for, and at the phase. */
bool exitlog_debug_here(CPUState *cpu)
{
    int64_t icount = exitlog_icount_executed(cpu);

    return xd.running && icount == xd.icount &&
        exitlog_debug_phase_at(icount) >= xd.phase;
}

char exitlog_debug_kind(int flags)
{
    switch (flags & BP_MEM_ACCESS) {
    case BP_MEM_READ:
        return 'r';
    case BP_MEM_WRITE:
        return 'w';
    default:
        return 'a';
    }
}

/*
 * An access that is about to happen, by the instruction of ra, is watched.  To stop after
 * it (mode s) the block is left before that instruction, which then runs alone.
 */
void exitlog_debug_watchpoint(CPUState *cpu, CPUWatchpoint *wp, uintptr_t ra)
{
    int left = exitlog_insns_left(ra);
    DebugHit hit = exitlog_debug_hit(cpu, exitlog_debug_kind(wp->flags),
                                     exitlog_icount_executed(cpu) - left,
                                     wp->vaddr);

    if (!xd.running) {
        return;
    }
    if (xd.mode == 'l') {
        exitlog_debug_list(&hit);
    }
    if (xd.mode != 's' || xd.hit.kind) {
        return;
    }
    xd.hit = hit;
    cpu_exit(cpu);
    if (left > 0) {
        cpu_restore_state(cpu, ra);
        cpu_loop_exit_noexc(cpu);
    }
    /* The stack frame of a delivery: the first instruction after it runs, too. */
}
