/*
 * Exit log: which vCPU runs.
 *
 * One thread runs all vCPUs, one at a time, each for a fixed quantum of
 * instructions.  A turn ends at the end of its quantum, at HLT and at PAUSE
 * (when another vCPU is awake), and nowhere else: after a kick the same vCPU
 * goes on with what is left of its quantum.  So the order is computed and
 * needs no record.
 *
 * The choice itself is made after the visit, because what the visit injects
 * may wake a vCPU.  From the choice until the next instruction the position is
 * not clean: a record injected there would find another choice made in a
 * replay, which injects at the first visit of a position.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/seqlock.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "migration/vmstate.h"
#include "system/cpu-timers.h"
#include "system/cpu-timers-internal.h"
#include "exitlog/accel/accel.h"
#include "exitlog/accel/tcg/tcg.h"
#include "exitlog/accel/tcg/turns.h"
#include "exitlog/core/state.h"

/* 100 us of guest time; at most 7 quanta pass before a vCPU's turn. */
#define QUANTUM 50000

/* All of it is the VM's state: equal on both sides at equal positions. */
static struct {
    int32_t index;          /* of the current vCPU; -1: none ran yet */
    int64_t left;           /* of its quantum: computed for vmstate */
    int64_t quantum_end;    /* icount */
    bool turn_over;
} turn = { .index = -1 };

static CPUState *current;       /* whom a kick must interrupt */
static int64_t chosen_icount = -1;
static int64_t started_icount;

static bool single(void)
{
    return !CPU_NEXT(first_cpu);
}

/*
 * Unlike cpu_thread_is_idle(): only what the guest computes.  Interrupts are
 * raised on this thread only, so it needs no lock.
 */
static bool asleep(CPUState *cpu)
{
    return cpu->halted && !cpu_has_work(cpu);
}

bool exitlog_asleep(void)
{
    CPUState *cpu;

    if (xl.suspended) {
        return true;
    }
    CPU_FOREACH(cpu) {
        if (!asleep(cpu)) {
            return false;
        }
    }
    return true;
}

bool exitlog_has_work(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (!QSIMPLEQ_EMPTY_ATOMIC(&cpu->work_list)) {
            return true;
        }
    }
    return false;
}

/* The vCPU thread has nothing to do until the main loop says so. */
bool exitlog_parked(void)
{
    CPUState *cpu;

    if (exitlog_running(first_cpu) || exitlog_has_work()) {
        return false;
    }
    CPU_FOREACH(cpu) {
        if (cpu->stop) {
            return false;
        }
    }
    return true;
}

void exitlog_tcg_interrupt(void)
{
    CPUState *cpu;

    do {
        cpu = qatomic_read(&current);
        if (cpu) {
            cpu_exit(cpu);
        }
        smp_mb(); /* exit, then look whether it is still the one */
    } while (cpu != qatomic_read(&current));
}

/* The next in the circle that is awake; the one whose turn it was comes last */
static CPUState *next_awake(CPUState *from)
{
    CPUState *cpu = from;

    do {
        cpu = CPU_NEXT(cpu) ? CPU_NEXT(cpu) : first_cpu;
        if (!asleep(cpu)) {
            return cpu;
        }
    } while (cpu != from);
    return NULL;
}

/* After a visit: who runs, for how many instructions; NULL: nobody may. */
CPUState *exitlog_next_cpu(int64_t *budget)
{
    int64_t icount = timers_state.qemu_icount;
    CPUState *cpu = current ? current : first_cpu;

    if (!exitlog_running(cpu) || xl.suspended || exitlog_has_work()) {
        return NULL;
    }
    if (single()) {
        *budget = INT64_MAX;
        qatomic_set(&current, cpu);
        return cpu;
    }
    if (turn.index < 0 || turn.turn_over || asleep(cpu)) {
        cpu = turn.index < 0 ? first_cpu : next_awake(cpu);
        if (!cpu) {
            return NULL;
        }
        turn.index = cpu->cpu_index;
        turn.quantum_end = icount + QUANTUM;
        turn.turn_over = false;
        chosen_icount = icount;
    }
    started_icount = icount;
    *budget = turn.quantum_end - icount;
    qatomic_set_mb(&current, cpu);
    /* A kick that saw the one before: what it is about is not looked at yet. */
    return qatomic_read(&xl.kicked) ? NULL : cpu;
}

void exitlog_ran(CPUState *cpu)
{
    if (single()) {
        return;
    }
    if (timers_state.qemu_icount == started_icount && asleep(cpu)) {
        /*
         * Woken, and asleep again without an instruction (INIT, a spurious
         * poll): it counts for one, so that what follows has a position.
         */
        exitlog_icount_set(timers_state.qemu_icount + 1);
    }
    if (asleep(cpu) || timers_state.qemu_icount >= turn.quantum_end) {
        turn.turn_over = true;
    }
}

/* PAUSE: true if the turn ends because another vCPU could use it. */
bool exitlog_yield(CPUState *cpu)
{
    if (single() || next_awake(cpu) == cpu) {
        return false;
    }
    turn.turn_over = true;
    return true;
}

CPUState *exitlog_current_cpu(void)
{
    return current ? current : first_cpu;
}

bool exitlog_unchosen(void)
{
    return chosen_icount != timers_state.qemu_icount;
}

static int turn_pre_save(void *opaque)
{
    turn.left = turn.quantum_end - timers_state.qemu_icount;
    return 0;
}

static int turn_post_load(void *opaque, int version_id)
{
    turn.quantum_end = timers_state.qemu_icount + turn.left;
    qatomic_set(&current, turn.index < 0 ? NULL : qemu_get_cpu(turn.index));
    return 0;
}

static const VMStateDescription vmstate_turn = {
    .name = "exitlog-turn",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = turn_pre_save,
    .post_load = turn_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_INT32(index, typeof(turn)),
        VMSTATE_INT64(left, typeof(turn)),
        VMSTATE_BOOL(turn_over, typeof(turn)),
        VMSTATE_END_OF_LIST()
    },
};

void exitlog_tcg_start(void)
{
    if (current_machine->smp.cpus > 1) {
        vmstate_register(NULL, 0, &vmstate_turn, &turn);
    }
}
