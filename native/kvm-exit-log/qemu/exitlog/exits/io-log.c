/*
 * Exit log: where in guest memory the data of a disk write lie.
 *
 * An epoch need not have what the guest writes to its disks: the backup has the guest's memory.
 * A page that was not written since the last cut is in its image now (BEFORE).  Another page is
 * there after this epoch, unless the guest changes it once more.  So its data are kept as they
 * were when the write was issued, and compared at the cut: what is not in memory any more goes
 * as data, a version.  No newer data come to the backup's disk, and none of another order.
 *
 * Data that never were in the guest's memory, as those of a register, go as data too.
 *
 * The first epoch of an image refers to nothing: an image that is not there yet.
 *
 * After Ohmura, "Rapid VM Synchronization with I/O Emulation Logging-Replay" (2011), where a
 * write whose pages are of both kinds forces a cut, because a backup replays a write as one;
 * here an event says so, and the protocol whether it does (src/epochs/).
 *
 * BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/units.h"
#include "exec/cpu-common.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "exitlog/accel/dirty.h"
#include "exitlog/core/events.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/exits/io-log.h"

/* Kept data: with more a cut is due, since comparing is in the pause. */
#define KEPT_BYTES (8 * MiB)
/* In one piece. */
#define REFERENCES_MAX (32 * KiB)

QEMU_BUILD_BUG_ON(REFERENCES_MAX * sizeof(struct exitlog_reference) >
                  EXITLOG_PIECE_BYTES_MAX);

typedef enum Source {
    ZEROS,
    DATA,   /* not in memory */
    BEFORE, /* in memory, as at the last cut */
    SINCE,  /* in memory, written since then */
    SOURCES,
} Source;

/* A write, or a part of one. */
typedef struct Part {
    Source source;
    int disk;
    int64_t offset;
    uint64_t bytes;
    int block_no; /* of memory, and where in it */
    RAMBlock *block;
    uint64_t at;
    void *data;   /* of DATA and SINCE, as they were issued */
} Part;

static GArray *noted; /* in the order in which they were issued */
static uint64_t kept;

bool exitlog_io_log_is_on(void)
{
    return qatomic_read(&xl.shm->epoch_io_log) && exitlog_state_has_cut();
}

static void note(Part *part, const void *data)
{
    if (part->bytes == 0) {
        return;
    }
    if (data && part->source != BEFORE) {
        part->data = g_memdup2(data, part->bytes);
        kept += part->bytes;
    }
    g_array_append_val(noted, *part);
}

/* A stretch of the guest's list, within a page if it is memory of ours. */
static Part part_at(int disk, uint8_t *host, uint64_t bytes)
{
    Part part = { .source = DATA, .disk = disk, .bytes = bytes, .block_no = -1 };
    size_t page_bytes = qemu_target_page_size();
    ram_addr_t at;
    RAMBlock *block = qemu_ram_block_from_host(host, false, &at);
    int no = block ? exitlog_dirty_block_no(block) : -1;

    if (no < 0 || no > UINT8_MAX || at + bytes > block->used_length) {
        return part;
    }
    part.bytes = MIN(bytes, page_bytes - at % page_bytes);
    part.source = exitlog_dirty_has(EXITLOG_DIRTY_EPOCH, no, at / page_bytes)
        ? SINCE : BEFORE;
    part.block_no = no;
    part.block = block;
    part.at = at;
    return part;
}

static bool continues(const Part *run, const Part *next)
{
    return run->bytes > 0 && run->source == next->source &&
        run->block_no == next->block_no &&
        (next->source == DATA || run->at + run->bytes == next->at);
}

/* They were copied before: a page that counts as unchanged now was so then. */
static void note_data(int disk, int64_t offset, const QEMUIOVector *list,
                      const uint8_t *data)
{
    Part run = { 0 };
    size_t from = 0, end = 0; /* of the run, in the data */
    bool has[SOURCES] = { false };

    for (int i = 0; i < list->niov; i++) {
        struct iovec *v = &list->iov[i];

        for (size_t n = 0; n < v->iov_len;) {
            Part next = part_at(disk, (uint8_t *)v->iov_base + n, v->iov_len - n);

            has[next.source] = true;
            n += next.bytes;
            if (continues(&run, &next)) {
                run.bytes += next.bytes;
            } else {
                note(&run, data + from);
                from = end;
                run = next;
                run.offset = offset + from;
            }
            end += next.bytes;
        }
    }
    note(&run, data + from);
    if ((has[BEFORE] && has[SINCE]) || kept > KEPT_BYTES) {
        exitlog_event(EXITLOG_EVENT_IO_LOG);
    }
}

void exitlog_io_log_note(int disk, int64_t offset, int64_t bytes,
                         const QEMUIOVector *list, const void *data)
{
    Part zeros = { .source = ZEROS, .disk = disk, .offset = offset, .bytes = bytes };

    if (!noted) {
        noted = g_array_new(false, true, sizeof(Part));
    }
    if (list) {
        note_data(disk, offset, list, data);
    } else {
        note(&zeros, NULL);
    }
}

static void put_references(GArray *all)
{
    uint64_t *count = &xl.shm->epoch_references;

    if (all->len > 0) {
        exitlog_state_put(EXITLOG_PART_REFERENCES, 0, all->data,
                          all->len * sizeof(struct exitlog_reference));
        qatomic_set(count, *count + all->len);
        g_array_set_size(all, 0);
    }
}

/* Some of a part: in memory it is, or its data are here. */
static void put(const Part *part, uint64_t from, uint64_t bytes, bool in_memory,
                GArray *references)
{
    struct exitlog_reference one = {
        .offset = part->offset + from,
        .at = part->at + from,
        .bytes = bytes,
        .disk = part->disk,
        .block = part->block_no,
        .flags = part->source == BEFORE ? EXITLOG_REFERENCE_BEFORE : 0,
    };

    if (in_memory) {
        g_array_append_val(references, one);
        if (references->len == REFERENCES_MAX) {
            put_references(references);
        }
        return;
    }
    put_references(references); /* the order is the guest's */
    exitlog_state_put(EXITLOG_PART_DISK + part->disk, part->offset + from,
                      part->data ? (uint8_t *)part->data + from : NULL, bytes);
}

/* Page by page: it is in memory as it was issued, or was changed. */
static void put_since(const Part *part, GArray *references)
{
    size_t page_bytes = qemu_target_page_size();
    uint64_t *versions = &xl.shm->epoch_versions;
    uint64_t from = 0, n;
    bool same = false;

    for (uint64_t i = 0; i < part->bytes; i += n) {
        bool is;

        n = MIN(part->bytes - i, page_bytes - (part->at + i) % page_bytes);
        is = memcmp((uint8_t *)part->data + i, part->block->host + part->at + i, n) == 0;
        if (i > 0 && is != same) {
            put(part, from, i - from, same, references);
            from = i;
        }
        same = is;
        qatomic_set(versions, *versions + !is);
    }
    put(part, from, part->bytes - from, same, references);
}

static void forget(void)
{
    for (unsigned i = 0; i < noted->len; i++) {
        g_free(g_array_index(noted, Part, i).data);
    }
    g_array_set_size(noted, 0);
    kept = 0;
}

void exitlog_io_log_put(void)
{
    g_autoptr(GArray) references =
        g_array_new(false, true, sizeof(struct exitlog_reference));

    if (!noted) {
        return;
    }
    for (unsigned i = 0; i < noted->len; i++) {
        const Part *part = &g_array_index(noted, Part, i);

        if (part->source == SINCE) {
            put_since(part, references);
        } else {
            put(part, 0, part->bytes, part->source == BEFORE, references);
        }
    }
    put_references(references);
    forget();
}

void exitlog_io_log_drop(void)
{
    if (noted) {
        forget();
    }
}
