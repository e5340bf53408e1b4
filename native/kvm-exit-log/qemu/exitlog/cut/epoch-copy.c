/*
 * Exit log: main memory of an epoch is copied while the guest runs on.
 *
 * One epoch at a time: the next is cut when it is whole.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qemu/memalign.h"
#include "qemu/thread.h"
#include "exec/target_page.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/cut/cow.h"
#include "exitlog/cut/epoch-copy.h"
#include "exitlog/verify/fault-copy.h"
#include "exitlog/verify/ram-digest.h"

/* Neighbours of a kind are one piece. */
#define RUN_PAGES 64
/* Not worth waking a thread for: about as long as that takes. */
#define FEW_PAGES 32
#define WAIT_US 50
#define FAULT_US 3000

typedef struct Run {
    uint8_t *data; /* of RUN_PAGES */
    uint64_t page;
    size_t count;
    bool zero;
} Run;

typedef struct Pages {
    uint64_t *no; /* rising */
    size_t count;
    size_t room;
} Pages;

static Pages to_put, to_hash; /* of this epoch */
static uint64_t digest_at;    /* 0: none is due */
static unsigned block_no;
static size_t page_bytes;
static QemuThread thread;
static QemuSemaphore wanted;
static bool told;

static bool add(Pages *pages, unsigned no, const RAMBlock *block, uint64_t page)
{
    if (!cow_is_possible(block, page)) {
        return false;
    }
    if (pages->count == pages->room) {
        pages->room = MAX(2 * pages->room, 4096);
        pages->no = g_renew(uint64_t, pages->no, pages->room);
    }
    block_no = no;
    cow_want(page);
    exitlog_fault_copy_keep(block, page);
    pages->no[pages->count++] = page;
    return true;
}

bool epoch_copy_put(unsigned no, const RAMBlock *block, uint64_t page)
{
    return add(&to_put, no, block, page);
}

bool epoch_copy_hash(unsigned no, const RAMBlock *block, uint64_t page)
{
    return add(&to_hash, no, block, page);
}

void epoch_copy_digest(uint64_t offset)
{
    digest_at = offset;
}

static void put(Run *run)
{
    if (run->count > 0) {
        exitlog_state_put_cut(EXITLOG_PART_RAM + block_no, run->page * page_bytes,
                              run->zero ? NULL : run->data, run->count * page_bytes);
    }
    run->count = 0;
}

/* Where the next page goes: a run that is zero has no data. */
static uint8_t *end_of(const Run *run)
{
    return run->data + (run->zero ? 0 : run->count * page_bytes);
}

/* The page has been taken to the end of the run. */
static void put_page(Run *run, uint64_t page)
{
    bool zero = buffer_is_zero(end_of(run), page_bytes);

    if (run->count > 0 && zero != run->zero) {
        put(run); /* of zeros: the page lies where the next run begins */
    }
    if (run->count == 0) {
        run->page = page;
        run->zero = zero;
    }
    run->count++;
}

static void take(Run *run, uint64_t page, bool puts, bool hashes)
{
    if (page != run->page + run->count || run->count == RUN_PAGES) {
        put(run);
    }
    cow_take(page, end_of(run));
    exitlog_fault_copy_compare(page, end_of(run));
    if (hashes) {
        exitlog_ram_digest_page(block_no, page, end_of(run));
    }
    if (puts) {
        put_page(run, page);
    }
}

static void copy_all(void)
{
    static uint8_t *data;
    size_t i = 0, j = 0;
    Run run = { 0 };

    if (!data) {
        page_bytes = qemu_target_page_size();
        data = qemu_memalign(page_bytes, RUN_PAGES * page_bytes);
    }
    run.data = data;
    while (i < to_put.count || j < to_hash.count) {
        uint64_t put_next = i < to_put.count ? to_put.no[i] : UINT64_MAX;
        uint64_t hash_next = j < to_hash.count ? to_hash.no[j] : UINT64_MAX;
        uint64_t page = MIN(put_next, hash_next);

        take(&run, page, page == put_next, page == hash_next);
        i += page == put_next;
        j += page == hash_next;
    }
    put(&run);
    cow_end();
    to_put.count = to_hash.count = 0;
    if (digest_at) {
        exitlog_emitted_set(digest_at, exitlog_ram_digest_end());
        digest_at = 0;
    }
    exitlog_state_whole();
}

static void *copier(void *unused)
{
    for (;;) {
        qemu_sem_wait(&wanted);
        if (exitlog_fault_copy_is_on()) {
            g_usleep(FAULT_US);
        }
        copy_all();
        if (qatomic_xchg(&told, false)) {
            exitlog_kick();
        }
    }
    return NULL;
}

void epoch_copy_start(bool at_once)
{
    static bool has_thread;

    bool few = to_put.count + to_hash.count <= FEW_PAGES;

    if (at_once || (few && !exitlog_fault_copy_is_on())) {
        return copy_all();
    }
    if (!has_thread) {
        qemu_sem_init(&wanted, 0);
        qemu_thread_create(&thread, "exitlog-epoch", copier, NULL, QEMU_THREAD_DETACHED);
        has_thread = true;
    }
    cow_begin();
    exitlog_fault_copy_write();
    qemu_sem_post(&wanted);
}

bool epoch_copy_is_busy(void)
{
    return exitlog_state_is_unfinished();
}

void epoch_copy_tell(void)
{
    qatomic_set(&told, true);
}

void epoch_copy_wait(void)
{
    while (epoch_copy_is_busy()) {
        exitlog_is_alive();
        g_usleep(WAIT_US);
    }
}
