/*
 * Exit log: record and replay of a guest's inputs (Understudy).
 *
 * The hooks that the rest of QEMU calls.  Every hook is a no-op unless
 * exitlog_on(): QEMU without -exitlog behaves as upstream.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITLOG_H
#define EXITLOG_EXITLOG_H

#include "qapi/qapi-types-run-state.h"
#include "qemu/atomic.h"
#include "block/aio.h"
#include "block/block-common.h"
#include "qemu/iov.h"

extern bool exitlog_enabled;

static inline bool exitlog_on(void)
{
    return unlikely(exitlog_enabled);
}

/*
 * The log is whole: what the guest takes in is in it, and a replay executes it again.  Not so
 * with inputs=off: then nothing needs a position, and the vCPUs have threads of their own.
 */
extern bool exitlog_is_exact;

static inline bool exitlog_exact(void)
{
    return unlikely(exitlog_is_exact);
}

/* vl.c: parse -exitlog; create console0, net0, ... before the devices. */
void exitlog_configure(const char *optarg);
void exitlog_create_backends(void);
/* vl.c: everything is open and no vCPU has run: give up what is not needed (confine/). */
void exitlog_confine(void);

/* tcg-accel-ops-rr.c: the visit, with the BQL held and no vCPU running. */
void exitlog_visit(CPUState *cpu);
/* True while the guest is meant to execute: idle waits are the visit's. */
bool exitlog_running(CPUState *cpu);
/* Any thread, also a signal handler: make the vCPU thread visit soon. */
void exitlog_kick(void);

/* The vCPUs of a guest take turns that are computed, not timed (accel/tcg/turns.c). */
CPUState *exitlog_next_cpu(int64_t *budget);
void exitlog_ran(CPUState *cpu);
bool exitlog_parked(void);
/* misc_helper.c: PAUSE; true if another vCPU is awake and gets the turn. */
bool exitlog_yield(CPUState *cpu);

/* cputlb.c: the soft TLBs of all vCPUs as at power-on, for checkpoints. */
void exitlog_tlb_forget(void);
/* cpu-system.c: true while a VM loads the state that it has. */
bool exitlog_keeps_code(void);

/* tcg-accel-ops-icount.c: how many instructions may run before a visit. */
int64_t exitlog_limit(int64_t limit);

/* icount-common.c: guest time as a function of the position, and its inverse. */
int64_t exitlog_icount_to_ns(int64_t icount);
int64_t exitlog_icount_round(int64_t ns);

/* cpu-exec.c: an exception or interrupt was delivered; a refill was done. */
void exitlog_delivered(CPUState *cpu);
void exitlog_refill(CPUState *cpu);

/* A replay under a debugger (debug/debug.c). */
extern bool exitlog_debug_on;
/* cpu-exec.c: true if the guest is to stop before the next block. */
extern bool exitlog_debug_phase; /* exitlog_debug_here() is to be asked */
bool exitlog_debug_here(CPUState *cpu);
bool exitlog_debug_breakpoint(CPUState *cpu, uint64_t pc);
/* watchpoint.c: an access by the code at ra is watched; may leave its block. */
struct CPUWatchpoint;
void exitlog_debug_watchpoint(CPUState *cpu, struct CPUWatchpoint *wp,
                               uintptr_t ra);
/* translate-all.c: of ra's block, instructions from that of ra on; 0: no block. */
int exitlog_insns_left(uintptr_t ra);
/* Who writes to guest memory, and who notes that it was written; by name in fault-copy.c. */
typedef enum ExitlogWriter {
    EXITLOG_BY_CPU,    /* a store of translated code */
    EXITLOG_BY_DMA,    /* address_space_write() */
    EXITLOG_BY_STORE,  /* address_space_stl() and its kin */
    EXITLOG_BY_ROM,    /* address_space_write_rom() */
    EXITLOG_BY_MAP,    /* by a pointer of address_space_map() */
    EXITLOG_BY_CACHE,  /* by that of a MemoryRegionCache */
    EXITLOG_NOTES_CPU,
    EXITLOG_NOTES_DEVICE,
    EXITLOG_WRITERS,
} ExitlogWriter;

/* Tests only: bits; that one does not say so. */
extern unsigned exitlog_unhooked;
static inline bool exitlog_is_unhooked(ExitlogWriter by)
{
    return unlikely(exitlog_unhooked) && (exitlog_unhooked >> by & 1);
}

/*
 * cputlb.c, physmem.c: memory is about to be written.  While an epoch is copied, its page is
 * copied before (cut/cow.c); while an epoch ends after so many pages, it is counted
 * (cut/epoch-pages.c).
 */
extern bool exitlog_counts_pages;
void exitlog_count_pages(uint64_t ram_addr, uint64_t bytes);
extern bool exitlog_cow_on;
void exitlog_cow(ExitlogWriter by, uint64_t ram_addr, uint64_t bytes);
static inline void exitlog_before_write(ExitlogWriter by, uint64_t ram_addr,
                                        uint64_t bytes)
{
    if (unlikely(qatomic_read(&exitlog_cow_on))) {
        exitlog_cow(by, ram_addr, bytes);
    }
    if (unlikely(qatomic_read(&exitlog_counts_pages))) {
        exitlog_count_pages(ram_addr, bytes);
    }
}
/* physmem.c: from now on it is written whenever somebody likes, by a pointer; or no longer. */
void exitlog_mapped(ExitlogWriter by, uint64_t ram_addr, uint64_t bytes,
                    bool is_mapped);

/* physmem.c: memory was written, not by the CPU's own loads and stores. */
void exitlog_debug_written(uint64_t ram_addr, uint64_t len);
/* cputlb.c: look at watchpoints on each access to the page of addr. */
void exitlog_tlb_watch(CPUState *cpu, uint64_t addr);

/* replay-events.c: a bottom half that the guest caused. */
void exitlog_bh_schedule(QEMUBH *bh);
/* dma-helpers.c: it will be deleted. */
void exitlog_bh_forget(QEMUBH *bh);
void exitlog_bh_schedule_oneshot(QEMUBHFunc *cb, void *opaque);

/* qemu-timer.c: in the main loop, some of the guest's clock. */
void exitlog_timers_ran(void);
/* cpus.c: with a thread of its own, until it has work; BQL. */
void exitlog_vcpu_sleeps(void);

/* loader.c: memory will be an image's; what is loaded at power-on has no place there. */
bool exitlog_image_is_due(void);

/* guest-random.c */
int exitlog_getrandom(void *buf, size_t len, Error **errp);

/* block-backend.c */
typedef enum ExitlogBlkOp {
    EXITLOG_BLK_READ,
    EXITLOG_BLK_WRITE,
    EXITLOG_BLK_ZEROES,
    EXITLOG_BLK_DISCARD,
    EXITLOG_BLK_FLUSH,
} ExitlogBlkOp;

bool exitlog_blk_captures(BlockBackend *blk, BlockCompletionFunc *cb);
BlockAIOCB *exitlog_blk_aio(BlockBackend *blk, ExitlogBlkOp op, int64_t offset,
                            int64_t bytes, QEMUIOVector *qiov,
                            BdrvRequestFlags flags,
                            BlockCompletionFunc *cb, void *opaque);
/* virtio-blk.c, scsi-bus.c: state is saved that has requests in flight, and those of blk. */
bool exitlog_blk_saves(void);
void exitlog_blk_each_saved(BlockBackend *blk,
                            void (*each)(void *opaque, QEMUFile *f), QEMUFile *f);
/* blk_drain() begins: completes what is in flight, here and now. */
void exitlog_blk_drain(BlockBackend *blk);
int coroutine_fn exitlog_blk_co_discard(BlockBackend *blk, int64_t offset,
                                        int64_t bytes);

/* Not exact, and only the running guest shows it: the end, with a reason. */
G_NORETURN void exitlog_refuse(const char *what);

/*
 * tcg-accel-ops.c, physmem.c: an interrupt was raised, guest memory written.
 * Ends the process if that happened off the vCPU thread while it runs.
 */
void exitlog_touched(const char *what);

/* runstate.c: true if the exit log will act on the request itself. */
bool exitlog_shutdown_request(ShutdownCause reason);
bool exitlog_powerdown_request(void);
bool exitlog_reset_request(ShutdownCause reason);
bool exitlog_killed(void);
bool exitlog_suspend_request(void);
bool exitlog_wakeup_request(void);

#endif
