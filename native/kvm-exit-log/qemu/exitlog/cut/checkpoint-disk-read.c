/*
 * Exit log: what the helper reads of the disks for a checkpoint.
 *
 * Holes are not read: a guest that discards a disk of any size leaves some bytes in a
 * checkpoint.  Zeros are joined to long runs, whose place is freed where they are
 * applied (addon/store/apply_disk.cc).
 *
 * The guest's requests that wait for a cluster are served first, the smallest before the
 * others: a write waits for the clusters it touches, not for all that are taken.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/lockable.h"
#include "exitlog/cut/checkpoint-disk.h"
#include "exitlog/cut/checkpoint-disk-read.h"
#include "exitlog/cut/checkpoint-pack.h"
#include "exitlog/exits/block-request.h"

/* More that wait at once come to their turn when one of these has. */
#define WANTS_MAX 64

/* Clusters that a request waits for. */
typedef struct Want {
    int disk;
    long first;
    long n;
} Want;

typedef struct Reader {
    const CheckpointDisk *d;
    CheckpointFile *f;
    /* What is known of the image: a hole from `from` to `data`, data to `hole`. */
    int64_t from, data, hole;
    CheckpointDiskRun zeros; /* not yet put; none if it has no bytes */
    uint8_t *cluster;
} Reader;

static Want wants[WANTS_MAX];
static unsigned want_count;
static QemuMutex lock;       /* of both */

static void __attribute__((constructor)) init(void)
{
    qemu_mutex_init(&lock);
}

/* A request that still waits may ask again. */
static void want(int disk, long first, long n)
{
    QEMU_LOCK_GUARD(&lock);

    for (unsigned i = 0; i < want_count; i++) {
        if (wants[i].disk == disk && wants[i].first == first &&
            wants[i].n == n) {
            return;
        }
    }
    if (want_count < WANTS_MAX) {
        wants[want_count] = (Want) { .disk = disk, .first = first, .n = n };
        qatomic_set(&want_count, want_count + 1);
    }
}

/* Must a request that changes data wait?  BQL. */
static bool must_wait(int disk, int64_t offset, int64_t bytes)
{
    long first, n;

    if (!checkpoint_disk_is_taken(disk, offset, bytes, &first, &n)) {
        return false;
    }
    want(disk, first, n);
    return true;
}

void checkpoint_disk_watch(void)
{
    static const ExitlogBlkWatch watch = {
        .writes = checkpoint_disk_writes,
        .must_wait = must_wait,
    };

    exitlog_blk_watch(&watch);
}

static bool smallest_want(Want *w)
{
    QEMU_LOCK_GUARD(&lock);

    for (unsigned i = 0; i < want_count; i++) {
        if (i == 0 || wants[i].n < w->n) {
            *w = wants[i];
        }
    }
    return want_count > 0;
}

static void want_served(const Want *w)
{
    QEMU_LOCK_GUARD(&lock);

    for (unsigned i = 0; i < want_count; i++) {
        if (memcmp(&wants[i], w, sizeof(*w)) == 0) {
            wants[i] = wants[want_count - 1];
            qatomic_set(&want_count, want_count - 1);
            return;
        }
    }
}

/* Where the hole ends that is at `at`: there, if none is. */
static int64_t hole_end(Reader *r, int64_t at)
{
    if (at < r->from || at >= r->hole) {
        r->from = at;
        r->data = lseek(r->d->fd, at, SEEK_DATA);
        if (r->data < 0) { /* nothing but a hole, or a file system that cannot say */
            r->data = errno == ENXIO ? INT64_MAX : at;
            r->hole = INT64_MAX;
        } else {
            r->hole = lseek(r->d->fd, r->data, SEEK_HOLE);
            r->hole = r->hole < 0 ? INT64_MAX : r->hole;
        }
    }
    return MAX(at, r->data);
}

static bool read_cluster(Reader *r, int64_t offset, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(r->d->fd, r->cluster + done, len - done, offset + done);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            r->f->error = errno;
            return false;
        }
        if (n == 0) { /* an image that ends in the middle of a sector */
            memset(r->cluster + done, 0, len - done);
            break;
        }
        done += n;
    }
    return true;
}

static void put_zeros(Reader *r)
{
    if (r->zeros.bytes) {
        checkpoint_put(r->f, &r->zeros, sizeof(r->zeros));
        r->zeros.bytes = 0;
    }
}

static void add_zeros(Reader *r, uint64_t offset, uint64_t bytes)
{
    if (r->zeros.bytes && (r->zeros.offset + r->zeros.bytes != offset ||
                           r->zeros.bytes + bytes > CHECKPOINT_ZERO_BYTES)) {
        put_zeros(r);
    }
    if (!r->zeros.bytes) {
        r->zeros.offset = offset;
    }
    r->zeros.bytes += bytes;
}

static void put_cluster(Reader *r, int64_t offset, size_t len)
{
    CheckpointDiskRun run = { .offset = offset, .bytes = len };
    const void *stored;

    if (!read_cluster(r, offset, len)) {
        return;
    }
    stored = checkpoint_pack(r->cluster, len, &run.stored);
    if (run.stored == 0) {
        add_zeros(r, offset, len);
    } else {
        checkpoint_put(r->f, &run, sizeof(run));
        checkpoint_put(r->f, stored, run.stored);
    }
}

/*
 * The first taken cluster from `from` on, or as many as lie in a hole.  Returns the one
 * to look at next; `end`, if none is taken.
 */
static long take_some(Reader *r, long from, long end)
{
    const CheckpointDisk *d = r->d;
    long first = find_next_bit(d->taken, end, from), n = 1;
    int64_t offset = (int64_t)first * CHECKPOINT_CLUSTER_BYTES, whole;

    if (first >= end) {
        return end;
    }
    whole = (MIN(hole_end(r, offset), d->bytes) - offset) /
        CHECKPOINT_CLUSTER_BYTES;
    if (whole >= 1) {
        long most = MIN(whole, CHECKPOINT_ZERO_BYTES / CHECKPOINT_CLUSTER_BYTES);

        n = find_next_zero_bit(d->taken, MIN(end, first + most), first) - first;
        add_zeros(r, offset, (int64_t)n * CHECKPOINT_CLUSTER_BYTES);
    } else {
        put_cluster(r, offset, MIN(CHECKPOINT_CLUSTER_BYTES, d->bytes - offset));
    }
    /* The guest may write to it from now on: not before it was read. */
    bitmap_test_and_clear_atomic(d->taken, first, n);
    return first + n;
}

/* Reads what the guest's requests wait for, the one that is served soonest first. */
static void serve(Reader *readers)
{
    Want w;

    while (qatomic_read(&want_count) && smallest_want(&w)) {
        Reader *r = &readers[w.disk];

        if (r->f->error) {
            return;
        }
        if (take_some(r, w.first, w.first + w.n) >= w.first + w.n) {
            want_served(&w);
            checkpoint_disk_released();
        }
    }
}

static void reader_open(Reader *r, int disk, CheckpointFile *f)
{
    static const uint64_t magic = CHECKPOINT_DISK_MAGIC;

    r->d = checkpoint_disk(disk);
    r->f = f;
    r->cluster = g_malloc(CHECKPOINT_CLUSTER_BYTES);
    checkpoint_put(f, &magic, sizeof(magic));
}

static void reader_close(Reader *r)
{
    put_zeros(r);
    g_free(r->cluster);
}

void checkpoint_disk_write(CheckpointFile *files)
{
    int count = checkpoint_disk_count();
    g_autofree Reader *readers = g_new0(Reader, count);

    for (int i = 0; i < count; i++) {
        reader_open(&readers[i], i, &files[i]);
    }
    for (int i = 0; i < count; i++) {
        long next = 0, end = readers[i].d->clusters;

        while (next < end && !files[i].error) {
            serve(readers);
            next = take_some(&readers[i], next, end);
        }
    }
    for (int i = 0; i < count; i++) {
        reader_close(&readers[i]);
    }
    /* What still waits is let go with all others, whatever became of this one. */
    QEMU_LOCK_GUARD(&lock);
    qatomic_set(&want_count, 0);
}
