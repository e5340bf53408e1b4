/*
 * Exit log: disks in a checkpoint.
 *
 * A full checkpoint has the clusters written since power-on (the recording has
 * the disk as it was then), an incremental one those written since its parent, one
 * on request those written since the last mark.
 *
 * A mark is for someone who copies the images while the guest writes to them: he
 * begins after it, and every cluster of which his copy may have an older state is
 * written after it, or was by a request that the host had not finished.
 *
 * What a checkpoint has is read from the image after the visit, by the helper
 * (checkpoint-disk-read.c); a guest write to a cluster that is still to be read is held
 * back until it has been.  When a request is done is the host's affair anyway, and
 * logged.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "block/aio.h"
#include "block/block_int.h"
#include "system/block-backend.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint-disk.h"
#include "exitlog/cut/checkpoint-format.h"
#include "exitlog/exits/block-request.h"

#define DISKS_MAX 16

static CheckpointDisk disks[DISKS_MAX];
static int disk_count = -1;
static bool reading;         /* the helper has not read all of `taken` */

/*
 * The daemon names them disk0, disk1, …; raw images.  They are opened once: a process that is
 * confined cannot do it when a checkpoint is made.
 */
void checkpoint_disk_open(void)
{
    if (disk_count >= 0) {
        return;
    }
    for (disk_count = 0; disk_count < DISKS_MAX; disk_count++) {
        g_autofree char *name = g_strdup_printf("disk%d", disk_count);
        BlockBackend *blk = blk_by_name(name);
        CheckpointDisk *d = &disks[disk_count];

        if (!blk || !blk_bs(blk)) {
            return;
        }
        d->fd = open(blk_bs(blk)->filename, O_RDONLY | O_CLOEXEC);
        if (d->fd < 0) {
            exitlog_fail("cannot read %s: %s", blk_bs(blk)->filename, strerror(errno));
        }
        d->bytes = blk_getlength(blk);
        d->clusters = DIV_ROUND_UP(d->bytes, CHECKPOINT_CLUSTER_BYTES);
        d->ever = bitmap_new(d->clusters);
        d->since = bitmap_new(d->clusters);
        d->marked = bitmap_new(d->clusters);
        d->taken = bitmap_new(d->clusters);
    }
}

static void range(const CheckpointDisk *d, int64_t offset, int64_t bytes,
                  long *first, long *n)
{
    int64_t end = MIN(DIV_ROUND_UP(offset + bytes, CHECKPOINT_CLUSTER_BYTES),
                      d->clusters);

    *first = offset / CHECKPOINT_CLUSTER_BYTES;
    *n = MAX(0, end - *first);
}

void checkpoint_disk_writes(int disk, int64_t offset, int64_t bytes)
{
    long first, n;

    checkpoint_disk_open();
    assert(disk < disk_count);
    range(&disks[disk], offset, bytes, &first, &n);
    bitmap_set(disks[disk].ever, first, n);
    bitmap_set(disks[disk].since, first, n);
    bitmap_set(disks[disk].marked, first, n);
}

bool checkpoint_disk_is_taken(int disk, int64_t offset, int64_t bytes,
                              long *first, long *n)
{
    if (!qatomic_load_acquire(&reading)) {
        return false;
    }
    range(&disks[disk], offset, bytes, first, n);
    return (long)find_next_bit(disks[disk].taken, *first + *n, *first) <
        *first + *n;
}

void checkpoint_disk_mark(void)
{
    checkpoint_disk_open();
    for (int i = 0; i < disk_count; i++) {
        bitmap_zero(disks[i].marked, disks[i].clusters);
    }
    exitlog_blk_mark_unfinished();
}

static unsigned long *written_since(const CheckpointDisk *d, CheckpointDisks since)
{
    return since == CHECKPOINT_DISKS_POWER_ON ? d->ever :
        since == CHECKPOINT_DISKS_PARENT ? d->since : d->marked;
}

void checkpoint_disk_cut(CheckpointDisks since)
{
    checkpoint_disk_open();
    for (int i = 0; i < disk_count; i++) {
        CheckpointDisk *d = &disks[i];

        bitmap_copy(d->taken, written_since(d, since), d->clusters);
        if (since != CHECKPOINT_DISKS_MARK) {
            bitmap_zero(d->since, d->clusters);
        }
        reading |= !bitmap_empty(d->taken, d->clusters);
    }
}

int checkpoint_disk_count(void)
{
    return disk_count;
}

const CheckpointDisk *checkpoint_disk(int disk)
{
    return &disks[disk];
}

static void resubmit(void *unused)
{
    exitlog_blk_resubmit();
}

void checkpoint_disk_released(void)
{
    aio_bh_schedule_oneshot(qemu_get_aio_context(), resubmit, NULL);
}

void checkpoint_disk_done(void)
{
    if (reading) {
        qatomic_store_release(&reading, false);
        checkpoint_disk_released();
    }
}
