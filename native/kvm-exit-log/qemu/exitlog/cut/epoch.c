/*
 * Exit log: epochs of a live VM, for a protocol by checkpoint.
 *
 * An epoch ends with a cut: the guest stands still while it is noted what has changed since the
 * last one, and the devices' state goes into the ring of state.  Pages of memory go there when
 * the guest runs on (cow.c, epoch-copy.c).  Nobody replays from here, so nothing is brought to
 * another form, and the guest cannot see that there was a cut.  The CHECKPOINT record that
 * closes it is held until all of the state is there: who has the log up to it has the state.
 *
 * Disk requests in flight are in the state, and are issued again by whoever goes on from
 * it: the guest has not been told of them, and what it asked for may be done twice.  Where
 * a disk's device does not save them they are waited for.
 *
 * A cut is due after a time, or when an event has happened that the daemon has named;
 * it is made at the next exact position, before the guest goes on.  When a packet
 * waits for one it is due after a time of its own, or as soon as the guest sleeps.
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
#include "exitlog/core/events.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/hash.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/cut/checkpoint-state.h"
#include "exitlog/cut/epoch.h"
#include "exitlog/cut/epoch-copy.h"
#include "exitlog/cut/epoch-pages.h"
#include "exitlog/cut/epoch-ram.h"
#include "exitlog/exits/block-saved.h"
#include "exitlog/exits/io-log.h"
#include "exitlog/exits/net-queue.h"
#include "exitlog/verify/digest.h"
#include "exitlog/verify/fault-copy.h"
#include "exitlog/verify/ram-digest.h"

/* For a position without requests in flight the guest runs on; then they are waited for. */
#define GRACE_NS (2 * (int64_t)SCALE_MS)

static uint64_t number;  /* of the last cut; 0: there was none */
static int64_t cut_ns;   /* when it was */
static int64_t packet_ns; /* when a packet was first seen to wait for a cut; 0: none does */
static uint64_t packets; /* sent by the guest before the last cut */
static int64_t cut_icount; /* where the last one was */
static bool slept;     /* since the last cut, it has */
static bool lone_told; /* and that packets wait that are no part of a burst */

/* The first that it sends when it was woken, or all that it sends before it sleeps. */
static void look_at_packets(void)
{
    slept |= exitlog_asleep();
    if (slept && xl.out_count != packets && !lone_told) {
        lone_told = true;
        exitlog_event(EXITLOG_EVENT_NET_LONE);
    }
}

/* A guest that sleeps has nothing more to put into the epoch, and who asked it waits. */
static int64_t packet_wait_ns(void)
{
    return exitlog_asleep() ? 0
        : MIN(qatomic_read(&xl.shm->epoch_packet_ns), INT64_MAX / 2);
}

static int64_t left_ns(void)
{
    int64_t now, due;

    if (!exitlog_state_is_on()) {
        return INT64_MAX;
    }
    if (!exitlog_state_has_begun()) {
        return 0;
    }
    if (qatomic_read(&xl.shm->epoch_ns) == EXITLOG_EPOCH_NEVER) {
        return INT64_MAX;
    }
    if (!number) {
        return exitlog_state_has_room() ? 0 : SCALE_MS;
    }
    if (epoch_pages_take()) {
        exitlog_event(EXITLOG_EVENT_PAGES);
    }
    look_at_packets();
    if (exitlog_event_is_due()) {
        return 0;
    }
    now = get_clock();
    due = cut_ns + MIN(qatomic_read(&xl.shm->epoch_ns), INT64_MAX / 2);
    if (!packet_ns && xl.out_count != packets) {
        packet_ns = now;
    }
    if (packet_ns && !epoch_copy_is_busy()) {
        due = MIN(due, packet_ns + packet_wait_ns());
    }
    return MAX(due - now, 0);
}

int64_t exitlog_epoch_left_ns(void)
{
    int64_t left = left_ns();

    if (left < SCALE_MS && epoch_copy_is_busy()) {
        epoch_copy_tell();
        return SCALE_MS;
    }
    return left;
}

/* The last one is not whole yet, and the guest would have to be cut for what cannot wait. */
static bool waits_for_copies(void)
{
    if (!epoch_copy_is_busy() || left_ns() > 0) {
        return false;
    }
    epoch_copy_tell();
    return epoch_copy_is_busy();
}

bool exitlog_epoch_must_wait(void)
{
    uint64_t max;

    if (!exitlog_state_is_on() || !number) {
        return false;
    }
    if (waits_for_copies()) {
        return true;
    }
    max = MIN(qatomic_read(&xl.shm->epochs_in_flight),
              EXITLOG_STATE_IN_FLIGHT_MAX - 1);
    return number > max && !exitlog_state_is_committed(number - max);
}

bool exitlog_epoch_stands(void)
{
    return exitlog_state_is_on() && exitlog_icount() == cut_icount &&
        !exitlog_asleep() &&
        (qatomic_read(&xl.shm->epoch_events) & 1ULL << EXITLOG_EVENT_TIMER);
}

/* Their hash is in `hash`, unless that is NULL. */
static void put_devices(uint64_t ordinal, uint64_t *hash)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    CheckpointState state = { 0 };

    g_byte_array_set_size(bytes, sizeof(state));
    exitlog_blk_save(true);
    checkpoint_sections(bytes);
    exitlog_blk_save(false);
    checkpoint_state_take(&state, ordinal,
                          exitlog_hash(bytes->data + sizeof(state),
                                       bytes->len - sizeof(state), 0));
    state.sections_bytes = bytes->len - sizeof(state);
    memcpy(bytes->data, &state, sizeof(state));
    if (hash) {
        *hash = exitlog_hash(bytes->data, bytes->len, 0);
    }
    exitlog_state_put(EXITLOG_PART_DEVICES, 0, bytes->data, bytes->len);
}

static unsigned pause_kind(uint64_t ns)
{
    unsigned kind = 0;

    while (kind < EXITLOG_PAUSES - 1 && ns >= exitlog_pause_ns(kind)) {
        kind++;
    }
    return kind;
}

static void count(int64_t start, size_t pages)
{
    struct exitlog_shm *shm = xl.shm;
    uint64_t pause_ns = get_clock() - start;

    qatomic_set(&shm->epoch_pages, shm->epoch_pages + pages);
    qatomic_set(&shm->epoch_pause_ns, shm->epoch_pause_ns + pause_ns);
    qatomic_set(&shm->epoch_pause_ns_max, MAX(shm->epoch_pause_ns_max, pause_ns));
    qatomic_inc(&shm->epoch_pauses[pause_kind(pause_ns)]);
    qatomic_set(&shm->epochs, number);
}

/* Whoever goes on from here sends them, maybe again. */
static void put_packets(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    exitlog_net_save_held(bytes);
    if (bytes->len > 0) {
        exitlog_state_put(EXITLOG_PART_PACKETS, 0, bytes->data, bytes->len);
    }
}

static bool digest_due(void)
{
    static int64_t last;
    uint64_t every = qatomic_read(&xl.shm->epoch_digests);

    /* Two cuts may have one position: 1 is all of them. */
    if (!every || (every > 1 && (uint64_t)(exitlog_icount() - last) < every)) {
        return false;
    }
    last = exitlog_icount();
    return true;
}

/*
 * A digest of this position.  At once, memory is hashed as it is; else what is copied is, so that the
 * digest says no more of the copying than the image does.
 */
static struct exitlog_digest take_digest(bool at_once)
{
    if (at_once) {
        return exitlog_digest();
    }
    exitlog_ram_digest_begin(epoch_copy_hash);
    return exitlog_digest_but_ram();
}

static void emit_digest(const struct exitlog_cut_digest *d, bool at_once)
{
    if (!at_once) {
        epoch_copy_digest(xl.shm->out.data_head +
                          offsetof(struct exitlog_cut_digest, vm.ram));
        exitlog_state_hold(xl.shm->out.head);
    }
    exitlog_emit(EXITLOG_DIGEST, EXITLOG_DIGEST_PERIODIC, sizeof(*d), 0, d);
}

/*
 * Where the guest waits for the commit of each epoch nothing is gained by what comes later.
 * Without instruction counting: no digest says that it is right (docs/hacking.md, "Left").
 */
static bool copies_in_pause(void)
{
    return !exitlog_fault_copy_is_on() &&
        (!exitlog_exact() || !qatomic_read(&xl.shm->epochs_in_flight));
}

static void cut(bool is_last)
{
    int64_t start = get_clock();
    bool at_once = is_last || qatomic_read(&xl.shm->epoch_digests) == 1;
    struct exitlog_cut_digest digest;
    uint64_t ordinal;
    size_t pages;
    bool digests;

    exitlog_exits_flush();
    if (!is_last) {
        exitlog_fault_copy_cut();
    }
    pages = epoch_ram_cut();
    exitlog_io_log_put();
    digests = digest_due();
    if (digests) {
        digest.vm = take_digest(at_once);
    }
    ordinal = xl.shm->out.head + digests;
    put_packets();
    put_devices(ordinal, digests ? &digest.shipped : NULL);
    if (digests) {
        emit_digest(&digest, at_once);
    }
    number = exitlog_state_cut(ordinal);
    epoch_copy_start(is_last || copies_in_pause());
    exitlog_emit(EXITLOG_CHECKPOINT, EXITLOG_CHECKPOINT_EPOCH, 0, number, NULL);
    exitlog_event_cut();
    epoch_pages_begin(qatomic_read(&xl.shm->epoch_pages_max));
    packets = xl.out_count;
    slept = lone_told = false;
    cut_icount = exitlog_icount();
    packet_ns = 0;
    cut_ns = get_clock();
    count(start, pages);
}

/*
 * Nothing of the image is there yet.  Who copies the disks from now on has all of them with
 * what is in STATE: no write is in flight that is not.
 */
static void begin(void)
{
    number = 0;
    exitlog_state_begin();
    exitlog_io_log_drop();
    epoch_pages_begin(0);
    epoch_ram_begin();
}

static bool due(int64_t now_ns, int64_t vtime_ns)
{
    return exitlog_epoch_left_ns() == 0;
}

bool exitlog_epoch_visit(void)
{
    static int64_t unquiet_ns; /* since then a cut was due that was not possible */

    if (epoch_copy_is_busy() || exitlog_epoch_left_ns() > 0) {
        return false;
    }
    if (exitlog_state_has_begun() && !number && epoch_ram_ahead()) {
        return false;
    }
    /* What was in flight when an image began would be missing in it. */
    if (exitlog_state_has_begun() ? exitlog_blk_unsaved()
                                  : exitlog_exits_unquiet() != NULL) {
        unquiet_ns = unquiet_ns ? unquiet_ns : get_clock();
        return get_clock() - unquiet_ns > GRACE_NS && exitlog_exits_finish_one();
    }
    unquiet_ns = 0;
    if (exitlog_state_has_begun()) {
        cut(false);
    } else {
        begin();
    }
    return false;
}

bool exitlog_epoch_last(void)
{
    epoch_copy_wait(); /* what is held would never be read */
    if (!exitlog_state_is_on() || !number) {
        return false;
    }
    if (exitlog_blk_unsaved()) {
        return exitlog_exits_finish_one();
    }
    cut(true);
    return false;
}

static const ExitlogRecordKind records[] = {
    { /* end of list */ }
};

const ExitlogExit exitlog_epoch_exit = {
    .records = records,
    .due = due,
};
