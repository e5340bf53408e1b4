/*
 * Preloaded into a daemon and its QEMU under test: a disk that is not well. The file SICK_DISK
 * says which, one a line: how, and how the paths begin that are on it; it is read again for
 * each call, and opened at the beginning: a QEMU that runs is confined.
 * frozen: what writes, creates or syncs does not return before it is well again; slow: 2 s
 * late; full: ENOSPC; failing: EIO. Reads are served from memory, as for a real one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SLOW_US 2000000
#define LOOK_US 5000

static int sick = -1;

static void __attribute__((constructor)) begin(void)
{
    const char *path = getenv("SICK_DISK");

    if (path) {
        sick = open(path, O_RDONLY | O_CLOEXEC);
    }
}

/* What `path` is on: its illness, or an empty text. */
static void look(const char *path, char *how)
{
    char text[4096], disk[PATH_MAX];
    ssize_t len = sick < 0 ? -1 : syscall(SYS_pread64, sick, text, sizeof(text) - 1, 0);
    const char *line = text;
    int used;

    text[len > 0 ? len : 0] = 0;
    while (sscanf(line, "%15s %4095s\n%n", how, disk, &used) == 2) {
        if (!strncmp(path, disk, strlen(disk))) {
            return;
        }
        line += used;
    }
    *how = 0;
}

/* Takes as long as it takes; an error or 0. `takesRoom`: it fails on a full one. */
static int visit(const char *path, int takesRoom)
{
    char how[16];

    look(path, how);
    if (!strcmp(how, "slow")) {
        usleep(SLOW_US);
    }
    while (!strcmp(how, "frozen")) {
        usleep(LOOK_US);
        look(path, how);
    }
    if (!strcmp(how, "failing")) {
        return EIO;
    }
    return takesRoom && !strcmp(how, "full") ? ENOSPC : 0;
}

/* -1 and errno, or 0: go on. */
static int visit_fd(int fd, int takesRoom)
{
    char link[64], path[PATH_MAX];
    ssize_t len;
    int error;

    if (sick < 0) {
        return 0;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    if (len <= 0 || path[0] != '/') {
        return 0;
    }
    path[len] = 0;
    error = visit(path, takesRoom);
    errno = error;
    return error ? -1 : 0;
}

static int visit_path(const char *path, int takesRoom)
{
    int error = sick < 0 || !path || path[0] != '/' ? 0 : visit(path, takesRoom);

    errno = error ? error : errno;
    return error ? -1 : 0;
}

#define CALL(fd, takesRoom, number, ...) \
    (visit_fd(fd, takesRoom) ? -1 : syscall(number, __VA_ARGS__))

ssize_t write(int fd, const void *buf, size_t count)
{
    return CALL(fd, 1, SYS_write, fd, buf, count);
}

ssize_t pwrite64(int fd, const void *buf, size_t count, off64_t at)
{
    return CALL(fd, 1, SYS_pwrite64, fd, buf, count, at);
}

ssize_t pwrite(int fd, const void *buf, size_t count, off_t at)
{
    return CALL(fd, 1, SYS_pwrite64, fd, buf, count, at);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    return CALL(fd, 1, SYS_writev, fd, iov, count);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t at)
{
    return CALL(fd, 1, SYS_pwritev, fd, iov, count, at, 0);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
    return CALL(fd, 1, SYS_pwritev, fd, iov, count, at, 0);
}

int fsync(int fd)
{
    return CALL(fd, 0, SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return CALL(fd, 0, SYS_fdatasync, fd);
}

int sync_file_range(int fd, off64_t at, off64_t count, unsigned int flags)
{
    return CALL(fd, 0, SYS_sync_file_range, fd, at, count, flags);
}

int ftruncate64(int fd, off64_t length)
{
    return CALL(fd, 0, SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length)
{
    return CALL(fd, 0, SYS_ftruncate, fd, length);
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    if ((flags & (O_CREAT | O_TRUNC)) && visit_path(path, (flags & O_CREAT) != 0)) {
        return -1;
    }
    return syscall(SYS_openat, dir, path, flags, mode);
}

#define MODE_OF(flags, mode) \
    do { \
        va_list rest; \
        va_start(rest, flags); \
        mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
    } while (0)

int open64(const char *path, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_at(AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_at(AT_FDCWD, path, flags, mode);
}

int rename(const char *from, const char *to)
{
    return visit_path(to, 0) ? -1 : syscall(SYS_rename, from, to);
}

int unlink(const char *path)
{
    return visit_path(path, 0) ? -1 : syscall(SYS_unlink, path);
}

int mkdir(const char *path, mode_t mode)
{
    return visit_path(path, 1) ? -1 : syscall(SYS_mkdir, path, mode);
}
