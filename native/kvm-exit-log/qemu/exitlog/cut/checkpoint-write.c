/*
 * Exit log: the helper thread that copies and writes checkpoints.
 *
 * DIR/.ICOUNT.partial/ is filled, synced, and renamed to DIR/ICOUNT/: what has
 * its name is whole.  Any error ends this checkpoint and only this one; the
 * next is a full one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint-disk.h"
#include "exitlog/cut/checkpoint-disk-read.h"
#include "exitlog/cut/checkpoint-file.h"
#include "exitlog/cut/checkpoint-ram.h"
#include "exitlog/cut/checkpoint-write.h"
#include <sys/resource.h>
#include <zlib.h>

static const char *base;
static QemuThread thread;
static QemuSemaphore wanted, started;
static bool busy, failed;
static uint64_t written_bytes;
static Checkpoint *task; /* NULL: copy */

/* The guest's writes need not wait until the files are synced. */
static int write_disks(const char *dir, GString *files, uint64_t *total)
{
    int count = checkpoint_disk_count(), error = 0;
    g_autofree CheckpointFile *f = g_new0(CheckpointFile, count);
    g_auto(GStrv) names = g_new0(char *, count + 1);

    for (int i = 0; i < count; i++) {
        names[i] = g_strdup_printf("disk%d", i);
        f[i] = checkpoint_file_open(dir, names[i]);
    }
    checkpoint_disk_write(f);
    checkpoint_disk_done();
    for (int i = 0; i < count; i++) {
        int closed = checkpoint_file_close(&f[i], names[i], files, total);

        error = error ? error : closed;
    }
    return error;
}

static int write_ram(Checkpoint *c, const char *dir, GString *files,
                     uint64_t *total)
{
    CheckpointFile f = checkpoint_file_open(dir, "ram");

    checkpoint_ram_write(&f, c->full);
    return checkpoint_file_close(&f, "ram", files, total);
}

static int write_state(Checkpoint *c, const char *dir, GString *files,
                       uint64_t *total)
{
    CheckpointFile f = checkpoint_file_open(dir, "state");

    c->state.sections_bytes = c->sections->len;
    checkpoint_put(&f, &c->state, sizeof(c->state));
    checkpoint_put(&f, c->sections->data, c->sections->len);
    return checkpoint_file_close(&f, "state", files, total);
}

/* Its last member is the crc32 of all before. */
static int write_manifest(Checkpoint *c, const char *dir, const char *files,
                          uint64_t total)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *at = g_date_time_format(now, "%Y-%m-%dT%H:%M:%SZ");
    g_autoptr(GString) unused = g_string_new(NULL);
    CheckpointFile f = checkpoint_file_open(dir, "manifest.json");
    uint64_t bytes = 0;

    g_string_append_printf(text, "{\"format\":3,\"icount\":%" PRId64
                           ",\"vtime_ns\":%" PRId64 ",\"ordinal\":%" PRIu64
                           ",\"data_offset\":%" PRIu64 ",\"kind\":\"%s\"",
                           c->state.icount, c->state.vtime_ns,
                           c->state.ordinal, c->data_offset,
                           c->full ? "full" : "incremental");
    if (c->full) {
        g_string_append(text, ",\"parent\":null");
    } else {
        g_string_append_printf(text, ",\"parent\":%" PRId64, c->parent);
    }
    g_string_append_printf(text, ",\"bytes\":%" PRIu64 ",\"digest\":\"%016"
                           PRIx64 "\",\"created_at\":\"%s\",\"pause_ns\":%"
                           PRId64 ",\"devices_ns\":%" PRId64 ",\"files\":[%s]",
                           total, c->state.digest, at, c->pause_ns,
                           c->devices_ns, files);
    g_string_append_printf(text, ",\"checksum\":\"%08lx\"}\n",
                           crc32(0, (uint8_t *)text->str, text->len));
    checkpoint_put(&f, text->str, text->len);
    return checkpoint_file_close(&f, "manifest.json", unused, &bytes);
}

static int sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || fsync(fd) < 0 ? errno : 0;

    if (fd >= 0) {
        close(fd);
    }
    return error;
}

static void remove_dir(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        unlink(file);
    }
    if (dir) {
        g_dir_close(dir);
    }
    rmdir(path);
}

static int write_all(Checkpoint *c, const char *partial, const char *final)
{
    g_autoptr(GString) files = g_string_new(NULL);
    uint64_t total = 0;
    int error = mkdir(partial, 0700) < 0 ? errno : 0;

    if (!error) {
        error = write_disks(partial, files, &total);
    }
    checkpoint_disk_done();
    error = error ? error : write_ram(c, partial, files, &total);
    error = error ? error : write_state(c, partial, files, &total);
    error = error ? error : write_manifest(c, partial, files->str, total);
    error = error ? error : sync_dir(partial);
    written_bytes = total;
    if (!error && c->full) {
        remove_dir(final); /* of the same position: the guest has slept since */
    }
    if (!error && rename(partial, final) < 0) {
        error = errno;
    }
    return error ? error : sync_dir(base);
}

/* The helper, or the vCPU while the helper has nothing to do. */
void checkpoint_failed(void)
{
    struct exitlog_shm *shm = xl.shm;

    qatomic_set(&shm->checkpoint_failures, shm->checkpoint_failures + 1);
}

static void write_checkpoint(Checkpoint *c)
{
    g_autofree char *final = g_strdup_printf("%s/%" PRId64, base,
                                             c->state.icount);
    g_autofree char *partial = g_strdup_printf("%s/.%" PRId64 ".partial", base,
                                               c->state.icount);
    int error = write_all(c, partial, final);
    struct exitlog_shm *shm = xl.shm;

    if (error) {
        warn_report("exitlog: checkpoint at icount %" PRId64 " given up: %s",
                    c->state.icount, strerror(error));
        remove_dir(partial);
        failed = true;
        checkpoint_failed();
    } else {
        qatomic_set(&shm->checkpoint_icount, c->state.icount);
        qatomic_set(&shm->checkpoints, shm->checkpoints + 1);
    }
    checkpoint_ram_forget();
    g_byte_array_unref(c->sections);
    g_free(c);
}

static void *helper(void *unused)
{
    rcu_register_thread();
    /* The guest first; the log's writer is another process. */
    setpriority(PRIO_PROCESS, 0, 5);
    qemu_sem_post(&started);
    for (;;) {
        qemu_sem_wait(&wanted);
        if (task) {
            write_checkpoint(task);
            task = NULL;
        } else {
            checkpoint_ram_copy();
        }
        qatomic_store_release(&busy, false);
        exitlog_kick();
    }
    return NULL;
}

/* With its priority, which a process with -sandbox cannot change any more. */
void checkpoint_helper_start(void)
{
    qemu_sem_init(&wanted, 0);
    qemu_sem_init(&started, 0);
    qemu_thread_create(&thread, "exitlog-ckpt", helper, NULL, QEMU_THREAD_DETACHED);
    qemu_sem_wait(&started);
}

/* Made, where the folder that it is in is there. */
int checkpoint_hold_folder(char **dir)
{
    int fd = -1;

    if (*dir && (mkdir(*dir, 0700) == 0 || errno == EEXIST)) {
        fd = open(*dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd >= 0) {
        g_free(*dir);
        *dir = g_strdup_printf("/proc/self/fd/%d", fd);
    }
    return fd;
}

/* It has nothing to do; what comes now is for `dir`.  False: that is nowhere. */
bool checkpoint_helper_use(const char *dir)
{
    struct stat held;

    base = dir;
    /* What else is wrong with it is said when it is written to. */
    if (mkdir(base, 0700) < 0 && errno == ENOENT) {
        return false;
    }
    return stat(base, &held) < 0 || held.st_nlink > 0;
}

bool checkpoint_helper_busy(void)
{
    return qatomic_load_acquire(&busy);
}

static void run(Checkpoint *c)
{
    task = c;
    busy = true;
    qemu_sem_post(&wanted);
}

void checkpoint_helper_copy(void)
{
    run(NULL);
}

void checkpoint_helper_write(Checkpoint *c)
{
    run(c);
}

bool checkpoint_helper_failed(void)
{
    bool was = failed;

    failed = false;
    return was;
}

uint64_t checkpoint_helper_bytes(void)
{
    return written_bytes;
}
