/*
 * Preloaded into a daemon and its QEMU: the host's time of day is another one.  The file
 * CLOCK_SHIFT_FILE holds by how much, an int64 in ns, and may change: a step.
 * CLOCK_MONOTONIC stays as it is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift;

static void __attribute__((constructor)) begin(void)
{
    const char *file = getenv("CLOCK_SHIFT_FILE");
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        void *map = mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);

        shift = map == MAP_FAILED ? NULL : map;
        close(fd);
    }
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    int ret = syscall(SYS_clock_gettime, clock, ts);

    if (ret == 0 && shift &&
        (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = ts->tv_sec * 1000000000LL + ts->tv_nsec + *shift;

        ts->tv_sec = ns / 1000000000;
        ts->tv_nsec = ns % 1000000000;
    }
    return ret;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    if (into) {
        *into = ts.tv_sec;
    }
    return ts.tv_sec;
}
