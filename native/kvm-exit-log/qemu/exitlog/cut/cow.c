/*
 * Exit log: copy on write of main memory, while an epoch is copied.
 *
 * At a cut each page that is to be copied is wanted, and the guest goes on.  A thread takes
 * page after page; whoever is about to write to one that is still wanted copies it first.
 * A word for each page says which, and who takes it first is settled by one exchange.
 *
 * Nothing is protected by the host's MMU.  After the cut no TLB entry lets code write to a
 * page that was dirty, so the first store of each vCPU comes to notdirty_write(); devices
 * come through the functions of physmem.c.  Each says so before it writes
 * (exitlog_before_write()).  Who has mapped memory, to write there by a pointer whenever it
 * likes, has said so once, and has not said when it is done: such pages are copied while
 * the guest stands still, and so is what is no main memory (a card's own pointer).
 *
 * Copies are bounded: who needs one more waits for the thread, which waits for the daemon.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/memalign.h"
#include "qemu/processor.h"
#include "qemu/thread.h"
#include "exec/memory.h"
#include "exec/target_page.h"
#include "hw/boards.h"
#include "system/system.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/cow.h"

/* What a page's word says; any other is where its copy lies. */
#define NOT_WANTED ((uintptr_t)0)
#define WANTED ((uintptr_t)1)
#define BEING_COPIED ((uintptr_t)2)

#define COPIES_MAX 4096
/* The thread that copies a page may not be running. */
#define SPINS_MAX 1000
#define ROOM_MS 1

bool exitlog_cow_on;

static uint8_t *host; /* main memory, */
static uint64_t base; /* from this ram_addr on, */
static uint64_t count; /* so many pages; 0: epochs are not made of this VM */
static size_t page_bytes;
static uintptr_t *words; /* of each page */
static uint32_t *mapped; /* of each page: by how many who write there unasked */

static QemuMutex lock; /* of the copies that are free */
static QemuCond freed;
static uint8_t *copies[COPIES_MAX];
static unsigned copies_free;

static void make(Notifier *n, void *unused)
{
    RAMBlock *block = current_machine->ram->ram_block;
    uint8_t *at;

    page_bytes = qemu_target_page_size();
    host = block->host;
    base = block->offset;
    words = g_new0(uintptr_t, block->max_length / page_bytes);
    mapped = g_new0(uint32_t, block->max_length / page_bytes);
    at = qemu_memalign(page_bytes, COPIES_MAX * page_bytes);
    for (unsigned i = 0; i < COPIES_MAX; i++) {
        copies[i] = at + i * page_bytes;
    }
    copies_free = COPIES_MAX;
    qemu_mutex_init(&lock);
    qemu_cond_init(&freed);
    count = block->max_length / page_bytes;
}

void cow_init(void)
{
    static Notifier machine_done = { .notify = make };

    if (xl.shm->state_bytes > 0) {
        qemu_add_machine_init_done_notifier(&machine_done);
    }
}

bool cow_is_possible(const RAMBlock *block, uint64_t page)
{
    return block->offset == base && page < count &&
        !qatomic_read(&mapped[page]);
}

void cow_want(uint64_t page)
{
    qatomic_set(&words[page], WANTED);
}

void cow_begin(void)
{
    qatomic_store_release(&exitlog_cow_on, true);
}

void cow_end(void)
{
    qatomic_store_release(&exitlog_cow_on, false);
}

static uint8_t *copy_get(void)
{
    uint8_t *copy;

    qemu_mutex_lock(&lock);
    while (!copies_free) {
        exitlog_is_alive();
        qemu_cond_timedwait(&freed, &lock, ROOM_MS);
    }
    copy = copies[--copies_free];
    qemu_mutex_unlock(&lock);
    return copy;
}

static void copy_free(uint8_t *copy)
{
    qemu_mutex_lock(&lock);
    copies[copies_free++] = copy;
    qemu_cond_signal(&freed);
    qemu_mutex_unlock(&lock);
}

/* Returns what its word says when nobody copies it. */
static uintptr_t settled(uint64_t page)
{
    uintptr_t word;

    for (unsigned spins = 0;; spins++) {
        word = qatomic_load_acquire(&words[page]);
        if (word != BEING_COPIED) {
            return word;
        }
        if (spins < SPINS_MAX) {
            cpu_relax();
        } else {
            g_thread_yield();
        }
    }
}

void cow_take(uint64_t page, uint8_t *into)
{
    uintptr_t word = qatomic_cmpxchg(&words[page], WANTED, BEING_COPIED);

    if (word == WANTED) {
        memcpy(into, host + page * page_bytes, page_bytes);
    } else {
        word = settled(page);
        memcpy(into, (uint8_t *)word, page_bytes);
        copy_free((uint8_t *)word);
    }
    qatomic_store_release(&words[page], NOT_WANTED);
}

static void keep(uint64_t page)
{
    uint8_t *copy;

    if (settled(page) != WANTED) {
        return;
    }
    copy = copy_get();
    if (qatomic_cmpxchg(&words[page], WANTED, BEING_COPIED) == WANTED) {
        memcpy(copy, host + page * page_bytes, page_bytes);
        qatomic_store_release(&words[page], (uintptr_t)copy);
    } else {
        copy_free(copy);
        settled(page);
    }
}

/* The pages of main memory among these bytes: from *page on; returns how many. */
static uint64_t pages_of(uint64_t ram_addr, uint64_t bytes, uint64_t *page)
{
    uint64_t end = (ram_addr - base + bytes + page_bytes - 1) / page_bytes;

    *page = (ram_addr - base) / page_bytes;
    if (ram_addr < base || *page >= count || !bytes) {
        return 0;
    }
    return MIN(end, count) - *page;
}

void exitlog_cow(ExitlogWriter by, uint64_t ram_addr, uint64_t bytes)
{
    uint64_t page, n = pages_of(ram_addr, bytes, &page);

    if (exitlog_is_unhooked(by)) {
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        keep(page + i);
    }
}

void exitlog_mapped(ExitlogWriter by, uint64_t ram_addr, uint64_t bytes,
                    bool is_mapped)
{
    uint64_t page, n = count ? pages_of(ram_addr, bytes, &page) : 0;

    if (exitlog_is_unhooked(by)) {
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (is_mapped) {
            qatomic_inc(&mapped[page + i]);
        } else if (qatomic_fetch_dec(&mapped[page + i]) == 0) {
            exitlog_fail("memory is no longer mapped that was not");
        }
    }
    if (is_mapped) {
        exitlog_before_write(by, ram_addr, bytes);
    }
}
