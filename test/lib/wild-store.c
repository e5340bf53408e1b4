/*
 * A guest that is one program: it adds to a variable many times, and once a store that
 * means another place goes astray and hits it. For tests of `understudy debug`.
 *
 * First process of its VM; linked at fixed addresses, and its symbols are gdb's map.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#define SLOTS 16
#define ROUNDS 200000
#define WILD_ROUND 123457

struct bank {
    long slots[SLOTS];
    long balance; /* right after the slots: slots[16] is this */
};

volatile struct bank bank;

__attribute__((noinline)) void deposit(long amount)
{
    bank.balance += amount;
}

/* The last slot's index is one too many, once. */
__attribute__((noinline)) void store_slot(long index, long value)
{
    __asm__ volatile(".globl the_store\nthe_store: movq %1, (%0)"
                     : : "r"(&bank.slots[index]), "r"(value) : "memory");
}

__attribute__((noinline)) void corrupted(long expected)
{
    printf("corrupted: %ld, not %ld\n", bank.balance, expected);
    fflush(stdout);
}

__attribute__((noinline)) long work(void)
{
    long expected = 0;

    for (long round = 0; round < ROUNDS; round++) {
        long index = round == WILD_ROUND ? SLOTS : round % SLOTS;

        if (round < WILD_ROUND) {
            deposit(round % 7);
            expected += round % 7;
        }
        store_slot(index, round);
    }
    return expected;
}

int main(void)
{
    long expected;

    printf("the program runs\n");
    fflush(stdout);
    expected = work();
    if (bank.balance != expected) {
        corrupted(expected);
    }
    reboot(RB_POWER_OFF);
    return 0;
}
