/*
 * Exit log: what its files share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_INTERNAL_H
#define EXITLOG_INTERNAL_H

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/seqlock.h"
#include "qemu/units.h"
#include "qemu/timer.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "hw/core/cpu.h"
#include "exitlog/exitlog.h"
#include "exitlog/exitlog_abi.h"

/* An undeclared function would return an int: positions of 32 bits. */
#pragma GCC diagnostic error "-Wimplicit-function-declaration"

#define EXITLOG_NICS_MAX 4

typedef struct Position {
    int64_t icount;
    int64_t vtime_ns;
} Position;

/* What the daemon is told about; ordered. */
enum exitlog_news {
    EXITLOG_NEWS_INPUT,   /* or progress */
    EXITLOG_NEWS_CONSOLE,
    EXITLOG_NEWS_PACKET,  /* or the end, or a change of state */
};

/* The part of the state that more than one file needs. */
typedef struct Exitlog {
    struct exitlog_shm *shm;
    int notify_fd;          /* we write: the daemon has something to read */
    int wake_fd;            /* we read: the daemon did something */
    bool live;              /* recording; false: replaying */
    bool ended;             /* END written or reached; nothing runs any more */
    ShutdownCause shutdown_cause; /* the guest asked for power-off */
    uint64_t out_chain;     /* hash chain over NET_OUT packets */
    uint64_t out_count;     /* NET_OUT packets since power-on */
    enum exitlog_news news; /* the most urgent since the daemon was told */
    char *net_spec[EXITLOG_NICS_MAX];
    bool check_digests;     /* EXITLOG_DIGEST_CHECK: memory against its table */
} Exitlog;

extern Exitlog xl;

/* exitlog.c */
void exitlog_set_state(enum exitlog_state state);
G_NORETURN void exitlog_fail(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void exitlog_go_live(void);

/* position.c */
Position exitlog_position(void);
bool exitlog_clean(void);
uint32_t exitlog_phase(int64_t icount);
void exitlog_deliveries_forget(void);
void exitlog_warp_to(int64_t vtime_ns);

/* clock-host.c */
int64_t exitlog_realtime_ns(void);
int64_t exitlog_real_at(int64_t now_ns);
int64_t exitlog_real_ns(void);
void exitlog_clock_heard(int64_t vtime_ns);

/* clock.c */
int64_t exitlog_clock_origin_ns(void);
void exitlog_clock_init(void);
void exitlog_clock_apply(const struct exitlog_record *r);
bool exitlog_clock_due(int64_t now_ns, int64_t vtime_ns);
bool exitlog_clock_steer(void);
void exitlog_clock_get(int64_t *icount, int64_t *ns, uint64_t *now_rate,
                       int64_t *origin, int64_t *reset_ns);
void exitlog_clock_set(int64_t icount, int64_t ns, uint64_t new_rate,
                       int64_t origin, int64_t reset_ns);

/* ring.c: OUT */
uint64_t exitlog_emit(enum exitlog_kind kind, uint16_t channel, uint32_t len,
                      uint64_t arg, const void *payload);
void exitlog_publish(Position p);
void exitlog_notify(void);
bool exitlog_out_has_room(void);
/* ring.c: IN */
const struct exitlog_record *exitlog_peek(void);
const struct exitlog_record *exitlog_peek_wait(void);
void exitlog_payload(const struct exitlog_record *r, void *into);
void exitlog_consume(void);
Position exitlog_in_horizon(void);
bool exitlog_control(enum exitlog_control flag);

/* divergence.c */
G_NORETURN void exitlog_diverge(const struct exitlog_record *expected,
                                const char *fmt, ...) G_GNUC_PRINTF(2, 3);
G_NORETURN void exitlog_diverge_digest(const struct exitlog_record *r,
                                       const struct exitlog_digest *expected,
                                       const struct exitlog_digest *actual);
const char *exitlog_kind_name(unsigned kind);

/* fault.c: tests only */
void exitlog_fault_configure(const char *spec);
int64_t exitlog_fault_visit(int64_t icount);
bool exitlog_fault_record(struct exitlog_record *r);

/* probe.c */
void exitlog_probe_configure(const char *file);
int64_t exitlog_probe_visit(Position now);
void exitlog_probe_before_end(Position now);

/* debug.c */
void exitlog_debug_configure(bool on);
bool exitlog_debug_holds(Position now);
bool exitlog_debug_holds_before(void);
/* debug-writes.c: a record is being applied; NULL: no more */
void exitlog_debug_applies(const struct exitlog_record *r);
int64_t exitlog_debug_stop(int64_t icount);
void exitlog_debug_end(void);
bool exitlog_debug_ended(void);

/* inject.c */
bool exitlog_inject_live(void);      /* true: something was injected */
bool exitlog_inject_replay(int64_t *stop_icount, int64_t *stop_vtime_ns);
bool exitlog_inject_pending(void);

/* bh.c */
bool exitlog_bh_run(void);

/* net.c, net-deliver.c */
void exitlog_net_create(int channel, const char *spec);
void exitlog_net_apply(const struct exitlog_record *r);
bool exitlog_net_inject(void);
bool exitlog_net_pending(void);
bool exitlog_net_held_full(void);
void exitlog_net_go_live(void);
bool exitlog_net_drained(void);

/* io-thread.c */
void exitlog_io_start(void);
void exitlog_io_wake(void);

/* console.c */
void exitlog_console_create(void);
void exitlog_console_flush(void);
bool exitlog_console_match(const struct exitlog_record *r);
void exitlog_console_apply(uint16_t channel, const uint8_t *data, uint32_t len);
int exitlog_console_room(uint16_t channel);

/* block.c */
void exitlog_blk_init(void);
bool exitlog_blk_inject(void);
bool exitlog_blk_pending(void);
void exitlog_blk_apply(const struct exitlog_record *r);
void exitlog_blk_go_live(void);
bool exitlog_blk_quiet(void);        /* no request in flight */
bool exitlog_blk_finish_one(void);   /* live: wait for one, inject it */
void exitlog_blk_end(void);          /* live: before END */
void exitlog_blk_resubmit(void);     /* what waited for a checkpoint */
void exitlog_blk_mark_unfinished(void);
uint64_t exitlog_blk_next_id(void);
void exitlog_blk_set_next_id(uint64_t id);

/* disk-error.c, disk-full.c */
void exitlog_disk_data_apply(const struct exitlog_record *r);
void exitlog_disk_full_configure(const char *policy);

/* flush-owed.c: a replay's */
void exitlog_flush_owe(int disk, BlockBackend *blk);
void exitlog_flush_pay(void);
void exitlog_flush_paid(void *opaque, int ret);

/* entropy.c: what the machine got when it was last made or reset */
size_t exitlog_boot_seed(void *into, size_t max);

/* checkpoint.c, checkpoint-request.c, checkpoint-disk.c, checkpoint-load.c */
void exitlog_checkpoint_configure(const char *dir, const char *live_dir,
                                  const char *request_dir, int64_t icount,
                                  int64_t ms, unsigned chain_max);
bool exitlog_checkpoints_on(void);
bool exitlog_checkpoint_visit(void);
void exitlog_disk_mark_visit(void);
bool exitlog_checkpoint_wanted(void);
void exitlog_checkpoint_finish(void);
void exitlog_checkpoint_apply(const struct exitlog_record *r);
void exitlog_checkpoint_ahead(void);
void exitlog_checkpoint_go_live(void);
void exitlog_checkpoint_disk_write(int disk, int64_t offset, int64_t bytes);
bool exitlog_checkpoint_disk_reads(int disk, int64_t offset, int64_t bytes);
void exitlog_checkpoint_from(const char *file);
bool exitlog_checkpoint_seed(void *buf, size_t len);
void exitlog_checkpoint_start(void);

/* power.c */
void exitlog_power_apply(enum exitlog_kind kind);
bool exitlog_power_inject(void);
bool exitlog_power_pending(void);
bool exitlog_end_wanted(void);
void exitlog_end(enum exitlog_end reason);
void exitlog_end_replay(const struct exitlog_record *digest);

/* digest.c */
struct exitlog_digest exitlog_digest(void);
struct exitlog_digest exitlog_digest_full(void);
void exitlog_each_section(void (*each)(const char *id, uint32_t instance,
                                       const uint8_t *bytes, size_t len));

/* ram-digest.c */
uint64_t exitlog_ram_digest(void);
uint64_t exitlog_ram_digest_full(FILE *dump);

/* periodic.c */
void exitlog_digest_configure(int64_t instructions);
void exitlog_digest_schedule(int64_t icount);
int64_t exitlog_digest_stop(int64_t icount);
void exitlog_digest_begin(void);
void exitlog_digest_visit(void);
void exitlog_digest_replay(const struct exitlog_record *r);
void exitlog_digest_compare(const struct exitlog_record *r,
                            const struct exitlog_digest *actual);
Position exitlog_last_equal_digest(void);

/* daemon-wait.c: what the daemon may have changed since it was looked at. */
typedef struct DaemonSide {
    uint64_t in_head;
    uint64_t out_tail;
    uint64_t out_data_tail;
    uint64_t icount_max;
    uint32_t in_horizon_seq;
    uint32_t control;
} DaemonSide;

DaemonSide exitlog_daemon_side(void);
void exitlog_daemon_wait(const DaemonSide *seen, const bool *kicked);
void exitlog_daemon_wake(void);

/* visit.c */
void exitlog_vcpu_wait(int64_t timeout_ns);
bool exitlog_kicked(void);
void exitlog_nudge(void);

/* suspend.c */
bool exitlog_suspended(void);
void exitlog_suspend_press(void);
void exitlog_suspend_cut_short(void);
void exitlog_suspend_visit(void);
void exitlog_suspend_init(void);

/* storm.c */
void exitlog_storm_start(void);

/* smp.c */
bool exitlog_asleep(void);
bool exitlog_has_work(void);
bool exitlog_unchosen(void);
CPUState *exitlog_current_cpu(void);
void exitlog_interrupt_current(void);
void exitlog_smp_init(void);

/* hash.c: 64-bit, one pass, any length. */
uint64_t exitlog_hash(const void *data, size_t len, uint64_t seed);

#endif
