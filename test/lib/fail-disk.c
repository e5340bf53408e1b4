/*
 * Preloaded into a QEMU under test: requests to its disk image fail as the file
 * FAIL_DISK says, read again for each of them; as long as it is empty, none does.  It is opened
 * at the beginning: a QEMU that runs is confined.
 * The image is the one whose path ends in FAIL_DISK_NAME.  A line: what (write, read,
 * flush, late), errno, first byte, end, percent.  As many percent of a write that fails are
 * done; with errno 0 a read succeeds and has other bytes; late: a read takes 50 ms.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct fault {
    char what[8];
    int error, percent;
    long long from, end;
};

static int faults = -1;

static void __attribute__((constructor)) begin(void)
{
    faults = open(getenv("FAIL_DISK"), O_RDONLY | O_CLOEXEC);
}

static int is_disk(int fd)
{
    const char *name = getenv("FAIL_DISK_NAME");
    char link[64], path[4096];
    ssize_t len;

    if (strncmp(program_invocation_short_name, "qemu", 4)) {
        return 0;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    return len >= (ssize_t)strlen(name) &&
        !strncmp(path + len - strlen(name), name, strlen(name));
}

static int find(int fd, const char *what, off64_t offset, size_t bytes, struct fault *f)
{
    char text[4096];
    ssize_t len = is_disk(fd) ? syscall(SYS_pread64, faults, text, sizeof(text) - 1, 0) : -1;
    const char *line = text;
    int used, found = 0;

    text[len > 0 ? len : 0] = 0;
    while (!found && sscanf(line, "%7s %d %lld %lld %d\n%n", f->what, &f->error, &f->from,
                            &f->end, &f->percent, &used) == 5) {
        found = !strcmp(f->what, what) && offset < f->end &&
            f->from < offset + (long long)bytes;
        line += used;
    }
    return found;
}

static ssize_t fail(const struct fault *f, char *buf, size_t count)
{
    if (!f->error) {
        memset(buf, 0x5a, count);
        return count;
    }
    errno = f->error;
    return -1;
}

ssize_t pwrite64(int fd, const void *buf, size_t count, off64_t offset)
{
    struct fault f;

    if (!find(fd, "write", offset, count, &f)) {
        return syscall(SYS_pwrite64, fd, buf, count, offset);
    }
    syscall(SYS_pwrite64, fd, buf, count * f.percent / 100, offset);
    return fail(&f, NULL, 0);
}

ssize_t pread64(int fd, void *buf, size_t count, off64_t offset)
{
    struct fault f;

    if (find(fd, "late", offset, count, &f)) {
        usleep(50000);
    }
    if (!find(fd, "read", offset, count, &f)) {
        return syscall(SYS_pread64, fd, buf, count, offset);
    }
    return fail(&f, buf, count);
}

static size_t length(const struct iovec *iov, int count)
{
    size_t bytes = 0;

    while (count--) {
        bytes += iov++->iov_len;
    }
    return bytes;
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    struct fault f;

    if (!find(fd, "write", offset, length(iov, count), &f)) {
        return syscall(SYS_pwritev, fd, iov, count, offset, 0);
    }
    syscall(SYS_pwrite64, fd, iov->iov_base, iov->iov_len * f.percent / 100, offset);
    return fail(&f, NULL, 0);
}

ssize_t preadv64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    struct fault f;

    if (find(fd, "late", offset, length(iov, count), &f)) {
        usleep(50000);
    }
    if (!find(fd, "read", offset, length(iov, count), &f)) {
        return syscall(SYS_preadv, fd, iov, count, offset, 0);
    }
    for (int i = 0; !f.error && i < count; i++) {
        memset(iov[i].iov_base, 0x5a, iov[i].iov_len);
    }
    return f.error ? fail(&f, NULL, 0) : (ssize_t)length(iov, count);
}

int fdatasync(int fd)
{
    struct fault f;

    return find(fd, "flush", 0, 1, &f) ? (int)fail(&f, NULL, 0) :
        (int)syscall(SYS_fdatasync, fd);
}
