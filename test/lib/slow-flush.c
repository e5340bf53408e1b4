/*
 * Preloaded into a QEMU under test: makes fdatasync of a disk image slow, and logs
 * each one's start and end in CLOCK_MONOTONIC ns to the file SLOW_FLUSH_LOG, which is opened at
 * the beginning: a QEMU that runs is confined.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int flushes = -1;

static void __attribute__((constructor)) begin(void)
{
    flushes = open(getenv("SLOW_FLUSH_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
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

int fdatasync(int fd)
{
    long long start = now_ns();
    int ret;

    if (!is_disk(fd)) {
        return syscall(SYS_fdatasync, fd);
    }
    usleep(atoi(getenv("SLOW_FLUSH_MS")) * 1000);
    ret = syscall(SYS_fdatasync, fd);
    dprintf(flushes, "%lld %lld\n", start, now_ns());
    return ret;
}
