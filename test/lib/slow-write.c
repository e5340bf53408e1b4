/*
 * Preloaded into a QEMU under test: writes to a disk image reach it late, and each
 * one's start and end in CLOCK_MONOTONIC ns, offset and bytes go to SLOW_WRITE_LOG, which is
 * opened at the beginning: a QEMU that runs is confined.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int writes = -1;

static void __attribute__((constructor)) open_log(void)
{
    writes = open(getenv("SLOW_WRITE_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static long long now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static int is_disk(int fd)
{
    static const char name[] = "/disk.raw";
    char link[64], path[4096];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    return len >= (ssize_t)strlen(name) &&
        !strncmp(path + len - strlen(name), name, strlen(name));
}

static long long begin(void)
{
    long long start = now_ns();

    usleep(atoi(getenv("SLOW_WRITE_MS")) * 1000);
    return start;
}

static void done(long long start, off64_t offset, ssize_t bytes)
{
    dprintf(writes, "%lld %lld %lld %zd\n", start, now_ns(), (long long)offset, bytes);
}

ssize_t pwrite64(int fd, const void *buf, size_t count, off64_t offset)
{
    long long start;
    ssize_t n;

    if (!is_disk(fd)) {
        return syscall(SYS_pwrite64, fd, buf, count, offset);
    }
    start = begin();
    n = syscall(SYS_pwrite64, fd, buf, count, offset);
    done(start, offset, n);
    return n;
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    long long start;
    ssize_t n;

    if (!is_disk(fd)) {
        return syscall(SYS_pwritev, fd, iov, count, offset, 0);
    }
    start = begin();
    n = syscall(SYS_pwritev, fd, iov, count, offset, 0);
    done(start, offset, n);
    return n;
}
