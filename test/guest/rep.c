/*
 * REP MOVS and REP STOS against loops in C: every size, both directions, copies over
 * themselves, over memory that is there twice, across pages, and into faults.
 *
 *   rep ROUNDS SEED
 *
 * A file of a few pages is mapped twice. A model has its bytes, so that what an
 * instruction did, also up to a fault, is compared in full.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096
#define BYTES (24 * PAGE) /* more than the 65,535 iterations of one block */

static uint8_t *view[2];
static uint8_t model[BYTES], source_model[8];
static uint64_t state;

/* What is under way, for the fault's handler. */
static struct {
    int is_move, backwards;
    size_t size, count, from, to; /* offsets in the file */
    uint8_t *from_view, *to_view;
    uint64_t value;
    size_t modelled;
    int faults;
} op;

static uint64_t below(uint64_t limit)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % limit;
}

static void fail(const char *what)
{
    printf("rep: wrong: %s: %s of %zu bytes, %zu times, %s, from %zu to %zu\n", what,
           op.is_move ? "movs" : "stos", op.size, op.count,
           op.backwards ? "backwards" : "forwards", op.from, op.to);
    fflush(stdout);
    _exit(1);
}

/* Elements up to `done`, one by one, as the manual says. */
static void advance_model(size_t done)
{
    for (; op.modelled < done; op.modelled++) {
        size_t at = op.modelled * op.size;
        size_t from = op.backwards ? op.from - at : op.from + at;
        size_t to = op.backwards ? op.to - at : op.to + at;

        memcpy(source_model, op.is_move ? model + from : (uint8_t *)&op.value,
               op.size);
        memcpy(model + to, source_model, op.size);
    }
}

static void compare(size_t done)
{
    advance_model(done);
    for (int i = 0; i < 2; i++) {
        if (mprotect(view[i], BYTES, PROT_READ | PROT_WRITE)) {
            fail("mprotect");
        }
    }
    if (memcmp(view[0], model, BYTES)) {
        fail("memory");
    }
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    size_t done = op.count - regs[REG_RCX];
    ssize_t by = op.backwards ? -(ssize_t)(done * op.size) : (ssize_t)(done * op.size);
    uint8_t *from = op.from_view + op.from + by, *to = op.to_view + op.to + by;
    uint8_t *at = info->si_addr;

    (void)signal;
    op.faults++;
    if (done >= op.count || (uint8_t *)regs[REG_RDI] != to ||
        (op.is_move && (uint8_t *)regs[REG_RSI] != from)) {
        fail("registers at a fault");
    }
    if (!(at >= to && at < to + op.size) &&
        !(op.is_move && at >= from && at < from + op.size)) {
        fail("address of a fault");
    }
    compare(done); /* and it goes on */
}

#define REP(instruction)                                                       \
    __asm__ volatile("rep " instruction                                        \
                     : "+S"(from), "+D"(to), "+c"(count)                       \
                     : "a"(op.value)                                           \
                     : "memory")

static void execute(void)
{
    uint8_t *from = op.from_view + op.from, *to = op.to_view + op.to;
    size_t count = op.count;

    if (op.backwards) {
        __asm__ volatile("std");
    }
    switch (op.size * 2 + op.is_move) {
    case 2: REP("stosb"); break;
    case 3: REP("movsb"); break;
    case 4: REP("stosw"); break;
    case 5: REP("movsw"); break;
    case 8: REP("stosl"); break;
    case 9: REP("movsl"); break;
    case 16: REP("stosq"); break;
    case 17: REP("movsq"); break;
    }
    __asm__ volatile("cld");
    if (count) {
        fail("count");
    }
}

static void one_round(void)
{
    static const size_t lengths[] = {20, 200, PAGE, 3 * PAGE, BYTES};
    size_t most, span, start;

    op.is_move = below(3) != 0;
    op.backwards = below(4) == 0;
    op.size = 1 << below(4);
    most = lengths[below(5)] / op.size;
    op.count = below(most + 1);
    span = op.count ? (op.count - 1) * op.size : 0;
    start = op.backwards ? span : 0;
    op.from = start + below(BYTES - span - op.size + 1);
    op.to = start + below(BYTES - span - op.size + 1);
    if (below(3) == 0) { /* close together: over itself */
        size_t lowest = start, highest = start + BYTES - span - op.size;

        op.to = op.from + below(200) - 100;
        if ((ssize_t)op.to < (ssize_t)lowest || op.to > highest) {
            op.to = op.from;
        }
    }
    op.from_view = view[below(2)];
    op.to_view = view[below(2)];
    op.value = state * 0x9e3779b97f4a7c15u * (below(4) != 0);
    op.modelled = 0;
    if (below(3) == 0) {
        int protection = below(2) ? PROT_NONE : PROT_READ;

        mprotect(view[below(2)] + below(BYTES / PAGE) * PAGE, PAGE, protection);
    }
    if (below(8) == 0) { /* no page is in the TLB */
        madvise(view[0], BYTES, MADV_DONTNEED);
        madvise(view[1], BYTES, MADV_DONTNEED);
    }
    execute();
    compare(op.count);
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 1000;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    int file = memfd_create("rep", 0);
    int faults = 0;

    state = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    if (file < 0 || ftruncate(file, BYTES) || sigaction(SIGSEGV, &action, NULL)) {
        perror("rep");
        return 1;
    }
    for (int i = 0; i < 2; i++) {
        view[i] = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (view[i] == MAP_FAILED) {
            perror("rep");
            return 1;
        }
    }
    for (size_t i = 0; i < BYTES; i++) {
        view[0][i] = model[i] = below(256);
    }
    for (long round = 0; round < rounds; round++) {
        op.faults = 0;
        one_round();
        faults += op.faults;
    }
    printf("rep: %ld rounds, %d faults, all as in the model\n", rounds, faults);
    return 0;
}
