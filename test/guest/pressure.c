/*
 * Memory pressure: more anonymous memory than there is RAM, in use by several
 * processes, so that the kernel ages pages by their Accessed bits and swaps.
 *
 *   pressure PROCESSES MIB_EACH ROUNDS
 *
 * Each process goes round all its pages and comes back to a hot part in between;
 * every page says whose it is and how often it was written, and is checked.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_WORDS (4096 / sizeof(uint64_t))
/* Pages of the hot part, and after how many others it is visited. */
#define HOT 256
#define HOT_EVERY 512

static uint64_t stamp(uint64_t process, uint64_t page, uint64_t round)
{
    return (process << 56 | page << 16 | round) * 0x9e3779b97f4a7c15u;
}

static int work(uint64_t process, uint64_t pages, uint64_t rounds)
{
    uint64_t *memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t hot = 0;

    if (memory == MAP_FAILED) {
        return 1;
    }
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t n = 0; n < pages; n++) {
            /* An order that read-ahead does not guess. */
            uint64_t page = n * 7919 % pages;
            uint64_t *words = memory + page * PAGE_WORDS;

            if (round && words[page % PAGE_WORDS] !=
                         stamp(process, page, round - 1)) {
                fprintf(stderr, "pressure: page %lu of %lu is wrong\n",
                        (unsigned long)page, (unsigned long)process);
                return 1;
            }
            words[page % PAGE_WORDS] = stamp(process, page, round);
            if (n % HOT_EVERY == 0) {
                for (uint64_t h = 0; h < HOT; h++) {
                    hot += memory[h * PAGE_WORDS];
                }
            }
        }
    }
    printf("process %lu: %016lx\n", (unsigned long)process, (unsigned long)hot);
    return 0;
}

int main(int argc, char **argv)
{
    int processes = argc == 4 ? atoi(argv[1]) : 0;
    int status, failed = 0;

    if (processes < 1) {
        fprintf(stderr, "usage: pressure PROCESSES MIB_EACH ROUNDS\n");
        return 2;
    }
    for (int p = 0; p < processes; p++) {
        if (fork() == 0) {
            return work(p, strtoul(argv[2], NULL, 0) * 256,
                        strtoul(argv[3], NULL, 0));
        }
    }
    while (wait(&status) > 0) {
        failed |= status;
    }
    return failed != 0;
}
