/*
 * Exit log: a file of a checkpoint that is being written.
 *
 * It leaves room on the disk for the log, whose end would be the recording's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "exitlog/cut/checkpoint-file.h"
#include <sys/statvfs.h>
#include <zlib.h>

#define BUFFER_BYTES (1 * MiB)
/* For the log: the disk is full to a checkpoint when only this is left. */
#define RESERVE_BYTES (64 * MiB)

static void flush(CheckpointFile *f)
{
    size_t done = 0;
    struct statvfs vfs;

    if (!f->error && fstatvfs(f->fd, &vfs) == 0 &&
        (uint64_t)vfs.f_bavail * vfs.f_frsize < RESERVE_BYTES) {
        f->error = ENOSPC;
    }
    while (done < f->used && !f->error) {
        ssize_t n = write(f->fd, f->buf + done, f->used - done);

        if (n < 0 && errno != EINTR) {
            f->error = errno;
        }
        done += MAX(n, 0);
    }
    f->crc = crc32(f->crc, f->buf, f->used);
    f->bytes += f->used;
    f->used = 0;
}

void checkpoint_put(CheckpointFile *f, const void *data, size_t len)
{
    while (len > 0 && !f->error) {
        size_t n = MIN(len, BUFFER_BYTES - f->used);

        memcpy(f->buf + f->used, data, n);
        f->used += n;
        data = (const uint8_t *)data + n;
        len -= n;
        if (f->used == BUFFER_BYTES) {
            flush(f);
        }
    }
}

CheckpointFile checkpoint_file_open(const char *dir, const char *name)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    CheckpointFile f = { .buf = g_malloc(BUFFER_BYTES) };

    f.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    f.error = f.fd < 0 ? errno : 0;
    return f;
}

int checkpoint_file_close(CheckpointFile *f, const char *name, GString *files,
                          uint64_t *total)
{
    if (f->fd >= 0) {
        flush(f);
        if (!f->error && fsync(f->fd) < 0) {
            f->error = errno;
        }
        close(f->fd);
    }
    g_free(f->buf);
    *total += f->bytes;
    g_string_append_printf(files, "%s{\"name\":\"%s\",\"bytes\":%" PRIu64
                           ",\"crc32\":\"%08x\"}", files->len ? "," : "", name,
                           f->bytes, f->crc);
    return f->error;
}
