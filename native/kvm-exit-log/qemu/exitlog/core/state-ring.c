/*
 * Exit log: the ring of state, from QEMU to its daemon.
 *
 * The vCPU thread puts: at a cut, and where the guest writes to a disk.  An epoch that was cut
 * is finished by another thread, which alone puts meanwhile; what is of the next one by
 * then waits in memory for the end of it.  An epoch may be larger than the ring: the daemon
 * takes its pieces as they come.
 *
 * The CHECKPOINT of an epoch that is not finished is in OUT, with what the guest did after it,
 * and is held there (shm.out_held): who reads OUT finds it when all of the state is here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "system/cpus.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/core/waiting.h"

/* None is asked for of more: the daemon's number is a stranger's to this process. */
#define ENDS EXITLOG_STATE_IN_FLIGHT_MAX

/* Bytes of the next epoch that wait in memory: the guest waits with more. */
#define NEXT_BYTES_MAX (16 * MiB)
#define LOOK_US 100

static uint64_t epoch; /* the one that is cut next; 0: no image has begun */
static uint64_t ends[ENDS]; /* ordinals after CHECKPOINT records, by number */

static bool unfinished; /* the epoch before it is; set by the vCPU thread, cleared by that one */
static uint64_t unfinished_ordinal;
static QemuMutex lock; /* of what is of the next: */
static GByteArray *next; /* pieces, as in the ring */

static void __attribute__((constructor)) state_ring_init(void)
{
    qemu_mutex_init(&lock);
    next = g_byte_array_new();
}

bool exitlog_state_is_on(void)
{
    return xl.live && xl.shm->state_bytes > 0 &&
        qatomic_read(&xl.shm->epoch_ns) > 0;
}

bool exitlog_state_has_cut(void)
{
    return epoch > 1;
}

bool exitlog_state_has_begun(void)
{
    return epoch && xl.shm->epoch_starts == qatomic_read(&xl.shm->epoch_starts_wanted);
}

static uint64_t padded(uint64_t bytes)
{
    return ROUND_UP(bytes, 8);
}

bool exitlog_state_has_room(void)
{
    struct exitlog_shm *shm = xl.shm;
    uint64_t used = shm->epoch_state.head - qatomic_load_acquire(&shm->epoch_state.tail);

    return used + EXITLOG_PIECE_BYTES_MAX < shm->state_bytes / 2;
}

static void wait_for_room(uint64_t bytes)
{
    struct exitlog_shm *shm = xl.shm;

    for (;;) {
        DaemonSide seen = exitlog_daemon_side();

        if (shm->epoch_state.head - qatomic_load_acquire(&shm->epoch_state.tail) + bytes <=
            shm->state_bytes) {
            return;
        }
        exitlog_notify_at_once(); /* it is what we wait for */
        if (!qemu_in_vcpu_thread()) {
            g_usleep(LOOK_US); /* only one is woken by the daemon */
            continue;
        }
        exitlog_daemon_wait(&seen, NULL);
        exitlog_is_alive();
    }
}

static void copy_in(uint64_t to, const void *from, uint64_t bytes)
{
    char *ring = (char *)xl.shm + xl.shm->state_off;
    uint64_t at = to & (xl.shm->state_bytes - 1);
    uint64_t first = MIN(bytes, xl.shm->state_bytes - at);

    memcpy(ring + at, from, first);
    memcpy(ring, (const char *)from + first, bytes - first);
}

static void put(const struct exitlog_piece *piece, const void *data)
{
    static const char zeros[8];
    uint64_t head = xl.shm->epoch_state.head;
    uint64_t bytes = data ? piece->bytes : 0;

    wait_for_room(sizeof(*piece) + padded(bytes));
    copy_in(head, piece, sizeof(*piece));
    head += sizeof(*piece);
    if (data) {
        copy_in(head, data, bytes);
        copy_in(head + bytes, zeros, padded(bytes) - bytes);
    }
    qatomic_store_release(&xl.shm->epoch_state.head, head + padded(bytes));
}

void exitlog_state_begin(void)
{
    uint64_t wanted = qatomic_read(&xl.shm->epoch_starts_wanted);
    struct exitlog_piece piece = { .part = EXITLOG_PART_BEGIN };

    epoch = 1;
    put(&piece, NULL);
    qatomic_set(&xl.shm->epoch_starts, wanted);
}

static void wait_for_end_of_cut(void)
{
    qemu_mutex_unlock(&lock);
    exitlog_is_alive();
    g_usleep(LOOK_US);
    qemu_mutex_lock(&lock);
}

/* Into the ring, or behind what is being put there. */
static void put_in_turn(const struct exitlog_piece *piece, const void *data)
{
    static const uint8_t zeros[8];
    uint64_t bytes = data ? piece->bytes : 0;
    bool later = false;

    if (qatomic_load_acquire(&unfinished)) {
        qemu_mutex_lock(&lock);
        while (unfinished && next->len + bytes > NEXT_BYTES_MAX) {
            wait_for_end_of_cut();
        }
        later = unfinished;
        if (later) {
            g_byte_array_append(next, (const uint8_t *)piece, sizeof(*piece));
            g_byte_array_append(next, data, bytes);
            g_byte_array_append(next, zeros, padded(bytes) - bytes);
        }
        qemu_mutex_unlock(&lock);
    }
    if (!later) {
        put(piece, data);
    }
}

static void put_pieces(void (*each)(const struct exitlog_piece *, const void *),
                       struct exitlog_piece piece, const void *data)
{
    uint64_t left = piece.bytes;

    piece.flags = data ? EXITLOG_PIECE_DATA : 0;
    while (left > 0) {
        piece.bytes = data ? MIN(left, EXITLOG_PIECE_BYTES_MAX) : left;
        each(&piece, data);
        data = data ? (const char *)data + piece.bytes : NULL;
        piece.offset += piece.bytes;
        left -= piece.bytes;
    }
}

void exitlog_state_put(uint32_t part, uint64_t offset, const void *data,
                       uint64_t bytes)
{
    put_pieces(put_in_turn, (struct exitlog_piece) {
        .part = part, .offset = offset, .bytes = bytes, .epoch = epoch,
    }, data);
}

void exitlog_state_hold(uint64_t ordinal)
{
    qatomic_set(&xl.shm->out_held, ordinal);
}

uint64_t exitlog_state_cut(uint64_t ordinal)
{
    g_assert(!unfinished);
    unfinished_ordinal = ordinal;
    ends[epoch % ENDS] = ordinal + 1;
    epoch++;
    if (!xl.shm->out_held) {
        exitlog_state_hold(ordinal);
    }
    qatomic_store_release(&unfinished, true);
    return epoch - 1;
}

void exitlog_state_put_cut(uint32_t part, uint64_t offset, const void *data,
                           uint64_t bytes)
{
    put_pieces(put, (struct exitlog_piece) {
        .part = part, .offset = offset, .bytes = bytes, .epoch = epoch - 1,
    }, data);
}

static void put_stored(const GByteArray *pieces)
{
    for (guint at = 0; at < pieces->len;) {
        const struct exitlog_piece *piece = (const void *)(pieces->data + at);
        bool has_data = piece->flags & EXITLOG_PIECE_DATA;

        put(piece, has_data ? piece + 1 : NULL);
        at += sizeof(*piece) + (has_data ? padded(piece->bytes) : 0);
    }
}

void exitlog_state_whole(void)
{
    struct exitlog_piece piece = {
        .part = EXITLOG_PART_END,
        .offset = unfinished_ordinal,
        .epoch = epoch - 1,
    };

    put(&piece, NULL);
    qatomic_store_release(&xl.shm->out_held, 0);
    exitlog_notify_at_once();
    for (bool more = true; more;) {
        g_autoptr(GByteArray) pieces = NULL;

        qemu_mutex_lock(&lock);
        more = next->len > 0;
        if (more) {
            pieces = next;
            next = g_byte_array_new();
        } else {
            qatomic_store_release(&unfinished, false);
        }
        qemu_mutex_unlock(&lock);
        if (more) {
            put_stored(pieces);
        }
    }
}

bool exitlog_state_is_unfinished(void)
{
    return qatomic_load_acquire(&unfinished);
}

bool exitlog_state_is_committed(uint64_t number)
{
    if (number >= epoch) {
        return false;
    }
    return epoch - number > ENDS ||
        qatomic_load_acquire(&xl.shm->commit) >= ends[number % ENDS];
}
