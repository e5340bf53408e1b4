/*
 * A guest that is one program, whose pages lie at the addresses that its page tables have in
 * physical memory: to QEMU's soft TLB the two differ by the mode alone.
 *
 * First process of its VM; linked to run high, out of the way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ul
/* Pages so far apart have one place in the soft TLB: each look at one is a walk. */
#define APART (32ul << 20)
#define HIGH 0x10001abc000ul
#define WALKS 64
/* /proc/kpageflags: it is a page table. */
#define PGTABLE 26
#define MEMORY (256ul << 20)
#define LOWEST (64ul << 10)
#define ROUNDS 60000

static volatile long *ours[MEMORY / PAGE];
static size_t count;

static void *map(unsigned long at, int prot)
{
    void *page = mmap((void *)at, PAGE, prot,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    return page == (void *)at ? page : NULL;
}

static void walk(void)
{
    for (unsigned long k = 0; k < WALKS; k++) {
        (void)*(volatile char *)(HIGH + k * APART);
    }
}

static void find_tables(int flags_fd)
{
    uint64_t flags;

    for (unsigned long at = LOWEST; at < MEMORY; at += PAGE) {
        if (pread(flags_fd, &flags, sizeof(flags), at / PAGE * sizeof(flags)) ==
                sizeof(flags) && (flags >> PGTABLE & 1)) {
            volatile long *page = map(at, PROT_READ | PROT_WRITE);

            if (page) {
                *page = 1;
                ours[count++] = page;
            }
        }
    }
}

int main(void)
{
    for (unsigned long k = 0; k < WALKS; k++) {
        map(HIGH + k * APART, PROT_READ);
    }
    walk();
    mkdir("/proc", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    find_tables(open("/proc/kpageflags", O_RDONLY));
    printf("%zu pages\n", count);
    fflush(stdout);
    for (long round = 0; round < ROUNDS; round++) {
        walk();
        for (size_t i = 0; i < count; i++) {
            ++*ours[i];
        }
    }
    reboot(RB_POWER_OFF);
    return 0;
}
