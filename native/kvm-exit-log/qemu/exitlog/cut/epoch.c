/*
 * Exit log: epochs of a live VM, for a protocol by checkpoint.
 *
 * An epoch ends with a cut: the guest stands still, and what has changed since the last one
 * goes into the ring of state.  Nobody replays from here, so nothing is brought to another
 * form, and the guest cannot see that there was a cut.  The CHECKPOINT record that
 * closes it comes last: who has the log up to it has the state.
 *
 * Which disk requests are in flight is not in the state: they are waited for.
 *
 * When, and how many epochs the guest may be ahead, are the daemon's numbers (struct
 * exitlog_shm).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/timer.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/hash.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/cut/checkpoint-state.h"
#include "exitlog/cut/epoch.h"
#include "exitlog/cut/epoch-ram.h"
#include "exitlog/verify/digest.h"

/* For a position without requests in flight the guest runs on; then they are waited for. */
#define GRACE_NS (2 * (int64_t)SCALE_MS)
/* More are never in flight: the daemon's number is a stranger's to this process. */
#define IN_FLIGHT_MAX 64

static uint64_t number;  /* of the last cut; 0: there was none */
static int64_t cut_ns;   /* when it was */
static int64_t packet_ns; /* when a packet was first seen to wait for a cut; 0: none does */
static uint64_t packets; /* sent by the guest before the last cut */
static uint64_t ends[IN_FLIGHT_MAX]; /* ordinals after CHECKPOINT records, by number */

int64_t exitlog_epoch_left_ns(void)
{
    int64_t now, due;

    if (!exitlog_state_is_on()) {
        return INT64_MAX;
    }
    if (!number) {
        return 0;
    }
    now = get_clock();
    due = cut_ns + MIN(qatomic_read(&xl.shm->epoch_ns), INT64_MAX / 2);
    if (!packet_ns && xl.out_count != packets) {
        packet_ns = now;
    }
    if (packet_ns) {
        due = MIN(due, packet_ns + (int64_t)MIN(
                      qatomic_read(&xl.shm->epoch_packet_ns), INT64_MAX / 2));
    }
    return MAX(due - now, 0);
}

bool exitlog_epoch_must_wait(void)
{
    uint64_t max, commit;

    if (!exitlog_state_is_on() || !number) {
        return false;
    }
    max = MIN(qatomic_read(&xl.shm->epochs_in_flight), IN_FLIGHT_MAX - 1);
    if (number <= max) {
        return false;
    }
    commit = qatomic_load_acquire(&xl.shm->commit);
    return commit < ends[(number - max) % IN_FLIGHT_MAX];
}

static void put_devices(uint64_t ordinal)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    CheckpointState state = { 0 };

    g_byte_array_set_size(bytes, sizeof(state));
    checkpoint_sections(bytes);
    checkpoint_state_take(&state, ordinal,
                          exitlog_hash(bytes->data + sizeof(state),
                                       bytes->len - sizeof(state), 0));
    state.sections_bytes = bytes->len - sizeof(state);
    memcpy(bytes->data, &state, sizeof(state));
    exitlog_state_put(EXITLOG_PART_DEVICES, 0, bytes->data, bytes->len);
}

static void count(int64_t start, size_t pages)
{
    struct exitlog_shm *shm = xl.shm;
    uint64_t pause_ns = get_clock() - start;

    qatomic_set(&shm->epoch_pages, shm->epoch_pages + pages);
    qatomic_set(&shm->epoch_pause_ns, shm->epoch_pause_ns + pause_ns);
    qatomic_set(&shm->epoch_pause_ns_max, MAX(shm->epoch_pause_ns_max, pause_ns));
    qatomic_set(&shm->epochs, number);
}

static void cut(void)
{
    int64_t start = get_clock();
    uint64_t ordinal;
    size_t pages;

    exitlog_exits_flush();
    pages = epoch_ram_put(number == 0);
    if (qatomic_read(&xl.shm->epoch_digests)) {
        struct exitlog_digest d = exitlog_digest();

        exitlog_emit(EXITLOG_DIGEST, EXITLOG_DIGEST_PERIODIC, sizeof(d), 0, &d);
    }
    ordinal = xl.shm->out.head;
    put_devices(ordinal);
    number = exitlog_state_end(ordinal);
    exitlog_emit(EXITLOG_CHECKPOINT, EXITLOG_CHECKPOINT_EPOCH, 0, number, NULL);
    ends[number % IN_FLIGHT_MAX] = ordinal + 1;
    packets = xl.out_count;
    packet_ns = 0;
    cut_ns = get_clock();
    count(start, pages);
}

static bool due(int64_t now_ns, int64_t vtime_ns)
{
    return exitlog_epoch_left_ns() == 0;
}

bool exitlog_epoch_visit(void)
{
    static int64_t unquiet_ns; /* since then a cut was due that was not possible */

    if (exitlog_epoch_left_ns() > 0) {
        return false;
    }
    if (exitlog_exits_unquiet()) {
        unquiet_ns = unquiet_ns ? unquiet_ns : get_clock();
        return get_clock() - unquiet_ns > GRACE_NS && exitlog_exits_finish_one();
    }
    unquiet_ns = 0;
    cut();
    return false;
}

bool exitlog_epoch_last(void)
{
    if (!exitlog_state_is_on()) {
        return false;
    }
    if (exitlog_exits_unquiet()) {
        return exitlog_exits_finish_one();
    }
    cut();
    return false;
}

static const ExitlogRecordKind records[] = {
    { /* end of list */ }
};

const ExitlogExit exitlog_epoch_exit = {
    .records = records,
    .due = due,
};
