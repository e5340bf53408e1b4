/*
 * Preloaded into a QEMU under test: the helper that writes checkpoints reads a disk's
 * clusters slowly.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CLUSTER_BYTES 65536
#define SLOW_US 4000

ssize_t pread64(int fd, void *buf, size_t count, off64_t offset)
{
    char name[17] = "";

    prctl(PR_GET_NAME, name);
    if (count == CLUSTER_BYTES && !strcmp(name, "exitlog-ckpt")) {
        usleep(SLOW_US);
    }
    return syscall(SYS_pread64, fd, buf, count, offset);
}
