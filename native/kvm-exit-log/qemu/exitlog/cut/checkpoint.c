/*
 * Exit log: checkpoints, at an exact position.
 *
 * A checkpoint is also a record.  State that QEMU does not save (soft TLBs, what
 * a device keeps beside its saved state) must be the same in a guest that ran
 * through this position and in one that starts here: so all bring it to the same
 * form here, the live side, a replay from power-on, and a replay that starts
 * here.  That form is "saved and loaded again, with empty TLBs".
 *
 * The position is one at which no disk request is in flight.  It is waited for a
 * while; then requests are completed first, by records as always.  A packet that a
 * NIC has no room for may wait for ever: it is part of the state (net-deliver.c).
 *
 * When is the daemon's affair: as numbers (src/vm/checkpointing.ts), for those that
 * recur, or whenever it asks for one (checkpoint-request.c).  One at a time.
 *
 * A replay that is to keep some of its past writes them too: where the log has one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint.h"
#include "exitlog/cut/checkpoint-disk.h"
#include "exitlog/cut/checkpoint-disk-read.h"
#include "exitlog/cut/checkpoint-ram.h"
#include "exitlog/cut/checkpoint-request.h"
#include "exitlog/cut/checkpoint-state.h"
#include "exitlog/cut/checkpoint-write.h"

/* The guest runs on for this time, for a position without requests in flight. */
#define GRACE_NS (30 * (int64_t)SCALE_MS)
/* Then it is made to; a request that nobody completes is waited for this long. */
#define PATIENCE_NS (5 * NANOSECONDS_PER_SECOND)

/* Copying goes round until it had few pages, so that the guest had little time. */
#define ROUNDS_MAX 5
#define ROUND_PAGES_MIN 128
/*
 * A replay reads a chain whole before it starts: incremental ones in a row have at
 * most so many times the bytes of their full one.
 */
#define CHAIN_TIMES_FULL 2
/* The rest after a full one that was asked for, in which what is older is deleted. */
#define REST_NS_MAX (2 * NANOSECONDS_PER_SECOND)
/* None is cut so soon after a take-over: clients come first. */
#define AFTER_GO_LIVE_NS NANOSECONDS_PER_SECOND
/* At the end of the log, for the one that is being written. */
#define FINISH_NS (60 * NANOSECONDS_PER_SECOND)
/* A replay knows about when the next record comes. */
#define AHEAD(every_ns) ((every_ns) / 5 * 4)

static struct {
    char *dir;               /* of those that recur; NULL: none do */
    char *request_dir;       /* of those asked for; NULL: none are made */
    int64_t every_icount;    /* 0: not by instructions */
    int64_t every_ns;        /* 0: not by time */
    unsigned chain_max;      /* incremental ones in a row */
} plan;

static enum { WAITING, COPYING, DUE, WRITING } step;
static bool full = true;     /* the one being made */
static bool on_request;      /* it */
static bool full_wanted;     /* it answers who asked for a full one */
static unsigned chain;       /* incremental ones since the last full one */
static uint64_t full_bytes, chain_bytes; /* written: of it, and of these */
static int64_t last_icount = -1;
static unsigned rounds;      /* of copying */
static size_t copied;        /* pages, in the last one */
static int64_t begun_icount, begun_ns, due_ns, rest_ns;

static bool recur(void)
{
    return plan.dir && (plan.every_icount || plan.every_ns);
}

void exitlog_checkpoint_configure(const char *dir, const char *request_dir,
                                  int64_t icount, int64_t ms,
                                  unsigned chain_max)
{
    plan.dir = g_strdup(dir);
    plan.request_dir = g_strdup(request_dir ? request_dir : dir);
    plan.every_icount = icount;
    plan.every_ns = ms * SCALE_MS;
    plan.chain_max = chain_max;
    checkpoint_request_configure(plan.request_dir != NULL);
    if (plan.request_dir) {
        checkpoint_disk_watch();
        checkpoint_helper_start();
    }
}

size_t exitlog_checkpoint_hold_folders(int *fds, size_t most)
{
    char **const dirs[] = { &plan.dir, &plan.request_dir };
    size_t count = 0;

    assert(most >= ARRAY_SIZE(dirs));
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        fds[count] = checkpoint_hold_folder(dirs[i]);
        count += fds[count] >= 0;
    }
    return count;
}

static bool due(void)
{
    static bool started;
    int64_t now;

    if (!recur()) {
        return false;
    }
    now = get_clock();
    if (!started) {
        const char *refusal = checkpoint_refusal();

        if (refusal) {
            exitlog_fail("no exact checkpoint is possible: %s", refusal);
        }
        started = true;
        begun_ns = begun_ns ? begun_ns : now;
    }
    return now >= rest_ns &&
        (checkpoint_full_wanted() ||
         (plan.every_icount &&
          exitlog_icount() - begun_icount >= plan.every_icount) ||
         (plan.every_ns && now - begun_ns >= plan.every_ns));
}

/* The VM has the form that c->sections have, and the log the record. */
static void take(Checkpoint *c, uint64_t ordinal, uint64_t digest, int64_t start)
{
    checkpoint_state_take(&c->state, ordinal, digest);
    checkpoint_ram_cut();
    checkpoint_disk_cut(on_request ? CHECKPOINT_DISKS_MARK :
                        full ? CHECKPOINT_DISKS_POWER_ON :
                        CHECKPOINT_DISKS_PARENT);
    c->full = full;
    c->parent = full ? -1 : last_icount;
    c->pause_ns = get_clock() - start;
    last_icount = c->state.icount;
    chain = full ? 0 : chain + 1;
    checkpoint_helper_write(c);
    step = WRITING;
}

static void cut(void)
{
    Checkpoint *c = g_new0(Checkpoint, 1);
    int64_t start = get_clock();
    uint64_t digest, ordinal;

    exitlog_exits_flush();
    c->sections = g_byte_array_new();
    digest = checkpoint_canonical(c->sections);
    c->devices_ns = get_clock() - start;
    ordinal = exitlog_emit(EXITLOG_CHECKPOINT, 0, 0, digest, NULL);
    c->data_offset = xl.shm->out.data_head;
    take(c, ordinal, digest, start);
}

/* A daemon that gives its past up takes the folder away: none is made any more. */
static bool has_folder(const char *dir)
{
    bool is = checkpoint_helper_use(dir);

    if (!is && !on_request) {
        plan.every_icount = plan.every_ns = 0;
    }
    return is || on_request;
}

static void begin(bool asked_for)
{
    on_request = asked_for;
    if (!on_request) {
        begun_ns = get_clock();
        begun_icount = exitlog_icount();
    }
    full |= on_request || chain >= plan.chain_max || checkpoint_full_wanted() ||
        chain_bytes > CHAIN_TIMES_FULL * full_bytes;
    if (!has_folder(on_request ? plan.request_dir : plan.dir)) {
        return;
    }
    copied = checkpoint_ram_collect(full);
    rounds = 1;
    checkpoint_helper_copy();
    step = COPYING;
}

/* What was written while pages were copied is copied while the guest runs, too. */
static bool another_round(void)
{
    if (rounds == ROUNDS_MAX || copied < ROUND_PAGES_MIN) {
        return false;
    }
    copied = checkpoint_ram_collect(false);
    rounds++;
    checkpoint_helper_copy();
    return true;
}

/* The helper is done.  Nothing can add to one that has a part of the disks only. */
static void written(void)
{
    uint64_t bytes = checkpoint_helper_bytes();

    full_bytes = full ? bytes : full_bytes;
    chain_bytes = full ? 0 : chain_bytes + bytes;
    if (full_wanted) {
        /* As long as it took itself. */
        rest_ns = get_clock() + MIN(get_clock() - begun_ns, REST_NS_MAX);
    }
    full = checkpoint_helper_failed() || on_request;
    if (on_request) {
        checkpoint_request_answer();
    }
    step = WAITING;
}

static void skip(const char *why)
{
    warn_report("exitlog: checkpoint skipped at icount %" PRId64 ": %s",
                exitlog_icount(), why);
    checkpoint_ram_forget();
    checkpoint_failed();
    full = true;
    if (on_request) {
        checkpoint_request_answer();
    }
    step = WAITING;
}

bool exitlog_checkpoint_visit(void)
{
    int64_t now;
    const char *why;

    if (checkpoint_helper_busy()) {
        return false;
    }
    if (step == WRITING) {
        written();
    }
    if (step == WAITING) {
        bool asked_for = checkpoint_request_take();

        if (asked_for || due()) {
            begin(asked_for);
        }
        return false;
    }
    now = get_clock();
    if (step == COPYING) {
        if (another_round()) {
            return false;
        }
        step = DUE;
        due_ns = MAX(due_ns, now);
    }
    if (now < due_ns) {
        return false;
    }
    why = exitlog_exits_unquiet();
    if (!why) {
        full_wanted = full && !on_request && checkpoint_full_wanted();
        if (full_wanted) {
            checkpoint_full_begun();
        }
        cut();
        return true;
    }
    if (now - due_ns > PATIENCE_NS) {
        skip(why);
        return false;
    }
    return now - due_ns > GRACE_NS && exitlog_exits_finish_one();
}

void exitlog_checkpoint_finish(void)
{
    int64_t start = get_clock();

    while (checkpoint_helper_busy() && get_clock() - start < FINISH_NS) {
        exitlog_vcpu_wait(SCALE_MS);
        exitlog_is_alive();
    }
    if (step == WRITING && !checkpoint_helper_busy()) {
        written();
    }
}

void exitlog_checkpoint_ahead(void)
{
    if (!recur() || !begun_ns || checkpoint_helper_busy()) {
        return;
    }
    if (step == WRITING) {
        written();
    }
    if (step == WAITING) {
        if (get_clock() - begun_ns >= AHEAD(plan.every_ns)) {
            begin(false);
        }
    } else if (step == COPYING && !another_round()) {
        step = DUE;
    }
}

/*
 * Replay, at the record: what is written of the past.  The first one only says that
 * there are any; one that comes before its pages are copied is left out.
 */
static void keep(GByteArray *sections, uint64_t digest, int64_t start)
{
    if (!recur()) {
        return;
    }
    begun_ns = get_clock();
    if (step == DUE) {
        Checkpoint *c = g_new0(Checkpoint, 1);

        c->sections = g_byte_array_ref(sections);
        c->devices_ns = begun_ns - start;
        c->data_offset = xl.shm->in.data_tail;
        take(c, xl.shm->in.tail, digest, start);
    }
}

/*
 * The log goes on, and so do the chain and the time between them: one for which pages
 * were copied ahead is cut here, with a record of our own.
 */
static void go_live(void)
{
    due_ns = get_clock() + AFTER_GO_LIVE_NS;
}

/* Replay: the same form, at the record. */
static void apply(const struct exitlog_record *r)
{
    g_autoptr(GByteArray) sections = g_byte_array_new();
    int64_t start = get_clock();
    uint64_t digest;

    if (r->channel == EXITLOG_CHECKPOINT_EPOCH) {
        return; /* the guest did not see it */
    }
    if (exitlog_exits_unquiet()) {
        exitlog_diverge(r, "a checkpoint while a request is in flight");
    }
    digest = checkpoint_canonical(sections);
    if (digest != r->arg) {
        const char *dump = getenv("EXITLOG_CHECKPOINT_DUMP");

        if (dump) {
            g_file_set_contents(dump, (char *)sections->data, sections->len,
                                NULL);
        }
        exitlog_diverge(r, "the devices' state at a checkpoint differs: "
                        "%016" PRIx64, digest);
    }
    keep(sections, digest, start);
}

static const ExitlogRecordKind records[] = {
    { .kind = EXITLOG_CHECKPOINT, .name = "checkpoint", .apply = apply },
    { /* end of list */ }
};

const ExitlogExit exitlog_checkpoint_exit = {
    .records = records,
    .go_live = go_live,
};
