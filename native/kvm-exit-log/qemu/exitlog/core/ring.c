/*
 * Exit log: the two rings in shared memory.
 *
 * Producers store the payload, then the record, then the heads with release
 * order.  On the guest's side only one thread at a time produces or consumes:
 * the vCPU thread, or the main thread while the vCPU is parked; without positions, who has
 * the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "hw/core/cpu.h"
#include "system/cpus.h"
#include "exitlog/core/events.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/core/waiting.h"

/* Room that a visit may count on before it starts (see exitlog_out_has_room()). */
#define ROOM_RECORDS 4096
#define ROOM_BYTES (4 * MiB)

/* Position of the record that was consumed last. */
static Position consumed;

static struct exitlog_record *slot(uint64_t base, uint64_t n)
{
    struct exitlog_shm *shm = xl.shm;

    return (struct exitlog_record *)((char *)shm + base) +
        (n & (shm->record_slots - 1));
}

static uint64_t padded(uint64_t len)
{
    return ROUND_UP(len, 8);
}

bool exitlog_out_has_room(void)
{
    struct exitlog_shm *shm = xl.shm;
    uint64_t records = shm->out.head - qatomic_load_acquire(&shm->out.tail);
    uint64_t bytes = shm->out.data_head -
        qatomic_load_acquire(&shm->out.data_tail);

    return records + ROOM_RECORDS <= shm->record_slots &&
        bytes + ROOM_BYTES <= shm->data_bytes;
}

/*
 * The rare case of an instruction stream that fills the ring between two
 * visits (a loop of RDRAND): wait here.  The daemon needs no lock of ours.
 */
static void wait_for_room(uint64_t len)
{
    struct exitlog_shm *shm = xl.shm;

    for (;;) {
        DaemonSide seen = exitlog_daemon_side();
        uint64_t records = shm->out.head - qatomic_load_acquire(&shm->out.tail);
        uint64_t bytes = shm->out.data_head -
            qatomic_load_acquire(&shm->out.data_tail);

        if (records < shm->record_slots &&
            bytes + padded(len) <= shm->data_bytes) {
            return;
        }
        exitlog_notify();
        exitlog_daemon_wait(&seen, NULL);
    }
}

/* Who puts the rest of its state tells the daemon (exitlog_state_whole()). */
static bool is_held(void)
{
    smp_mb(); /* OUT's head before; pairs with that in exitlog_notify_at_once() */
    return qatomic_read(&xl.shm->out_held) != 0;
}

/* What the guest takes in: not in a log that nobody executes. */
static bool is_input(enum exitlog_kind kind)
{
    switch (kind) {
    case EXITLOG_NET_OUT:
    case EXITLOG_CHAR_OUT:
    case EXITLOG_DIGEST:
    case EXITLOG_CHECKPOINT:
    case EXITLOG_END:
        return false;
    default:
        return true;
    }
}

uint64_t exitlog_emit(enum exitlog_kind kind, uint16_t channel, uint32_t len,
                      uint64_t arg, const void *payload)
{
    struct exitlog_shm *shm = xl.shm;
    uint64_t ordinal = shm->out.head;
    Position p = exitlog_position();
    struct exitlog_record *r;

    /* Tripwire: an input or output off the vCPU thread has no position. */
    g_assert(exitlog_exact() ? qemu_in_vcpu_thread() || !first_cpu ||
                               !exitlog_running(first_cpu)
                             : bql_locked());
    if (!exitlog_exact() && is_input(kind)) {
        exitlog_event_of_record(kind);
        return ordinal;
    }
    wait_for_room(payload ? len : 0);
    if (payload) {
        char *data = (char *)shm + shm->out_data_off;
        uint64_t at = shm->out.data_head & (shm->data_bytes - 1);
        uint64_t first = MIN(len, shm->data_bytes - at);
        static const char zero[8];

        arg = shm->out.data_head;
        memcpy(data + at, payload, first);
        memcpy(data, (const char *)payload + first, len - first);
        /* The pad is in batches too: never ship old bytes. */
        for (uint64_t i = len; i < padded(len); i++) {
            data[(arg + i) & (shm->data_bytes - 1)] = zero[0];
        }
    }
    r = slot(shm->out_records_off, ordinal);
    *r = (struct exitlog_record) {
        .icount = p.icount,
        .vtime_ns = p.vtime_ns,
        .kind = kind,
        .channel = channel,
        .len = len,
        .arg = arg,
    };
    if (payload) {
        qatomic_store_release(&shm->out.data_head, arg + padded(len));
    }
    qatomic_store_release(&shm->out.head, ordinal + 1);
    exitlog_event_of_record(kind);
    if (kind == EXITLOG_NET_OUT || kind == EXITLOG_END ||
        (kind == EXITLOG_CHECKPOINT && channel == EXITLOG_CHECKPOINT_EPOCH &&
         !is_held())) {
        xl.news = EXITLOG_NEWS_PACKET;
    } else if (kind == EXITLOG_CHAR_OUT && xl.news == EXITLOG_NEWS_INPUT) {
        xl.news = EXITLOG_NEWS_CONSOLE;
    }
    if (!exitlog_exact()) {
        exitlog_kick(); /* no visit comes by itself that would see that it waits */
    }
    return ordinal;
}

void exitlog_emitted_set(uint64_t offset, uint64_t word)
{
    char *data = (char *)xl.shm + xl.shm->out_data_off;

    g_assert(offset % sizeof(word) == 0);
    memcpy(data + (offset & (xl.shm->data_bytes - 1)), &word, sizeof(word));
}

void exitlog_publish(Position p)
{
    struct exitlog_shm *shm = xl.shm;

    qatomic_set(&shm->icount, p.icount);
    qatomic_set(&shm->vtime_ns, p.vtime_ns);
    if (!xl.live) {
        return;
    }
    qatomic_set(&shm->horizon_seq, shm->horizon_seq + 1);
    smp_wmb();
    qatomic_set(&shm->horizon_icount, p.icount);
    qatomic_set(&shm->horizon_vtime_ns, p.vtime_ns);
    smp_wmb();
    qatomic_set(&shm->horizon_seq, shm->horizon_seq + 1);
}

void exitlog_out_begin(void)
{
    struct exitlog_shm *shm = xl.shm;
    static bool begun;

    if (begun) {
        return;
    }
    begun = true;
    qatomic_set(&shm->out.data_head, shm->in.data_tail);
    qatomic_set(&shm->out.head, shm->in.tail);
    qatomic_set(&shm->out.data_tail, shm->in.data_tail);
    qatomic_set(&shm->out.tail, shm->in.tail);
}

const struct exitlog_record *exitlog_peek(void)
{
    struct exitlog_shm *shm = xl.shm;
    uint64_t tail = shm->in.tail;

    if (qatomic_load_acquire(&shm->in.head) == tail) {
        return NULL;
    }
    return slot(shm->in_records_off, tail);
}

const struct exitlog_record *exitlog_peek_wait(void)
{
    const struct exitlog_record *r;

    for (;;) {
        DaemonSide seen = exitlog_daemon_side();

        smp_rmb();
        r = exitlog_peek();
        if (r) {
            return r;
        }
        if (exitlog_control(EXITLOG_CTL_GO_LIVE) && !exitlog_peek()) {
            exitlog_out_begin();
            return NULL;
        }
        exitlog_notify();
        exitlog_daemon_wait(&seen, NULL);
    }
}

void exitlog_payload(const struct exitlog_record *r, void *into)
{
    struct exitlog_shm *shm = xl.shm;
    const char *data = (const char *)shm + shm->in_data_off;
    uint64_t at = r->arg & (shm->data_bytes - 1);
    uint64_t first = MIN(r->len, shm->data_bytes - at);

    memcpy(into, data + at, first);
    memcpy((char *)into + first, data, r->len - first);
}

void exitlog_consume(void)
{
    struct exitlog_shm *shm = xl.shm;
    const struct exitlog_record *r = slot(shm->in_records_off, shm->in.tail);

    if (r->kind < 64 && EXITLOG_KINDS_WITH_PAYLOAD >> r->kind & 1) {
        qatomic_store_release(&shm->in.data_tail, r->arg + padded(r->len));
    }
    consumed = (Position) { .icount = r->icount, .vtime_ns = r->vtime_ns };
    qatomic_store_release(&shm->in.tail, shm->in.tail + 1);
}

Position exitlog_in_horizon(void)
{
    struct exitlog_shm *shm = xl.shm;
    Position p;
    uint32_t seq;

    do {
        seq = qatomic_load_acquire(&shm->in_horizon_seq);
        p.icount = qatomic_read(&shm->in_horizon_icount);
        p.vtime_ns = qatomic_read(&shm->in_horizon_vtime_ns);
        smp_rmb();
    } while ((seq & 1) || seq != qatomic_read(&shm->in_horizon_seq));
    return p;
}

Position exitlog_in_covers(Position horizon)
{
    bool is_beyond = consumed.icount != horizon.icount
        ? consumed.icount > horizon.icount
        : consumed.vtime_ns > horizon.vtime_ns;

    return is_beyond ? consumed : horizon;
}

bool exitlog_control(enum exitlog_control flag)
{
    return qatomic_load_acquire(&xl.shm->control) & flag;
}
