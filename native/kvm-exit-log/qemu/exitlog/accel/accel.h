/*
 * Exit log: what an accelerator gives.
 *
 * Positions, how far the vCPUs may run, and where an input may be injected.  TCG
 * with instruction counting gives it in accel/tcg/; nothing else of the exit log
 * looks at how instructions are counted or where guest time comes from.
 *
 * TCG without it, with a thread for each vCPU, gives in accel/multi/ what the members of
 * ExitlogAccel are, and nothing else: no guest is executed there a second time
 * (exitlog_exact() is false).
 *
 * On the vCPU thread with the BQL held, at a visit, but where it says otherwise; without
 * counting it is the main loop that makes visits.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_ACCEL_ACCEL_H
#define EXITLOG_ACCEL_ACCEL_H

/*
 * Where the guest is.  Guest time is a function of the count and of the log, so
 * it is equal at equal positions.
 */
typedef struct Position {
    int64_t icount;
    int64_t vtime_ns;
} Position;

typedef struct ExitlogAccel {
    void (*init)(void (*progress)(Position now));
    void (*start)(void);
    Position (*position)(void);
    int64_t (*icount)(void);
    int64_t (*vtime_ns)(void);
    void (*interrupt)(void);
    bool (*clean)(void);
    /* NULL: as core/kick.c does. */
    void (*wait)(int64_t timeout_ns);
    /* NULL: a visit is where all stand still. */
    void (*stand_still)(void);
    void (*go_on)(void);
} ExitlogAccel;

/* Before all others. */
void exitlog_accel_use(const ExitlogAccel *which);

/*
 * Before the machine's devices are made.  progress: called now and then while the
 * guest computes, with a position up to which all is done.
 */
void exitlog_accel_init(void (*progress)(Position now));
/* When the back ends are made: its own state is saved after theirs. */
void exitlog_accel_start(void);

/*
 * Position: also in an instruction that touches a device, which then counts.  Where nothing
 * is counted: ns of guest time.
 */
Position exitlog_position(void);
int64_t exitlog_icount(void);
/* As in exitlog_position(); any thread. */
int64_t exitlog_vtime_ns(void);
/* In an instruction: all of the block that it is in are counted. */
int64_t exitlog_icount_executed(CPUState *cpu);
/* The count is another one: the state of a VM is loaded. */
void exitlog_icount_set(int64_t icount);

/* Run: at the next visit at the latest, the guest is at that count. */
void exitlog_run_until(int64_t icount);
/* A vCPU is to make a visit soon.  Any thread, also a signal handler. */
void exitlog_interrupt_current(void);
/* The guest stands still: until something happens, or for so long (-1: no limit).
   False: this accelerator waits as core/kick.c does. */
bool exitlog_accel_wait(int64_t timeout_ns);
/* No vCPU executes and guest time stands, until the other. */
void exitlog_stand_still(void);
void exitlog_go_on(void);

/* Inject: false where the log could not name the position again. */
bool exitlog_clean(void);
/* Exceptions and interrupts delivered at this icount so far. */
uint32_t exitlog_phase(int64_t icount);
/* A checkpoint says nothing of deliveries: count anew. */
void exitlog_deliveries_forget(void);

/* Guest time moves forward while no instruction runs. */
void exitlog_warp_to(int64_t vtime_ns);

/* Guest time without its idle times: base_ns + (icount - base_icount) * rate. */
typedef struct ExitlogRate {
    int64_t base_icount;
    int64_t base_ns;
    uint64_t rate; /* ns per instruction, times 2^32 */
} ExitlogRate;

ExitlogRate exitlog_rate(void);
/* From here on. */
void exitlog_rate_change(uint64_t rate);
/* The state of a VM is loaded. */
void exitlog_rate_set(ExitlogRate rate);

/* All vCPUs sleep: guest time passes without instructions. */
bool exitlog_asleep(void);
/* The vCPU thread is asked for something else than to execute. */
bool exitlog_has_work(void);
/* The vCPU whose turn it is, or was. */
CPUState *exitlog_current_cpu(void);

#endif
