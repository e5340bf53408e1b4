/*
 * Exit log: the ring of state, from QEMU to its daemon.
 *
 * One thread at a time puts: the vCPU thread, at a cut, and where the guest writes to a
 * disk.  An epoch may be larger than the ring: the daemon takes its pieces as they come.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/core/waiting.h"

/* None is asked for of more: the daemon's number is a stranger's to this process. */
#define ENDS EXITLOG_STATE_IN_FLIGHT_MAX

static uint64_t epoch; /* the one that is cut next; 0: no image has begun */
static uint64_t ends[ENDS]; /* ordinals after CHECKPOINT records, by number */

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
        xl.news = EXITLOG_NEWS_PACKET; /* it is what we wait for */
        exitlog_notify();
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

void exitlog_state_put(uint32_t part, uint64_t offset, const void *data,
                       uint64_t bytes)
{
    while (bytes > 0) {
        uint64_t n = data ? MIN(bytes, EXITLOG_PIECE_BYTES_MAX) : bytes;
        struct exitlog_piece piece = {
            .part = part,
            .flags = data ? EXITLOG_PIECE_DATA : 0,
            .offset = offset,
            .bytes = n,
            .epoch = epoch,
        };

        put(&piece, data);
        data = data ? (const char *)data + n : NULL;
        offset += n;
        bytes -= n;
    }
}

uint64_t exitlog_state_end(uint64_t ordinal)
{
    struct exitlog_piece piece = {
        .part = EXITLOG_PART_END,
        .offset = ordinal,
        .epoch = epoch,
    };

    put(&piece, NULL);
    ends[epoch % ENDS] = ordinal + 1;
    return epoch++;
}

uint64_t exitlog_state_epoch(void)
{
    return epoch;
}

bool exitlog_state_is_committed(uint64_t number)
{
    if (number >= epoch) {
        return false;
    }
    return epoch - number > ENDS ||
        qatomic_load_acquire(&xl.shm->commit) >= ends[number % ENDS];
}
