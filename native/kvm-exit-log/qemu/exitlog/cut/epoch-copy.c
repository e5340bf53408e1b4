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
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/cut/cow.h"
#include "exitlog/cut/epoch-copy.h"
#include "exitlog/verify/fault-copy.h"

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

static GArray *pages; /* of this epoch, rising */
static unsigned block_no;
static size_t page_bytes;
static QemuThread thread;
static QemuSemaphore wanted;
static bool told;

void epoch_copy_add(unsigned no, uint64_t page)
{
    if (!pages) {
        pages = g_array_new(false, false, sizeof(uint64_t));
    }
    block_no = no;
    cow_want(page);
    g_array_append_val(pages, page);
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

static void take(Run *run, uint64_t page)
{
    uint8_t *data;
    bool zero;

    if (page != run->page + run->count || run->count == RUN_PAGES) {
        put(run);
    }
    data = end_of(run);
    cow_take(page, data);
    zero = buffer_is_zero(data, page_bytes);
    if (run->count > 0 && zero != run->zero) {
        put(run); /* of zeros: the page lies where the next run begins */
    }
    if (run->count == 0) {
        run->page = page;
        run->zero = zero;
    }
    run->count++;
}

static void copy_all(void)
{
    static uint8_t *data;
    Run run = { 0 };

    if (!data) {
        page_bytes = qemu_target_page_size();
        data = qemu_memalign(page_bytes, RUN_PAGES * page_bytes);
    }
    run.data = data;
    for (guint i = 0; pages && i < pages->len; i++) {
        take(&run, g_array_index(pages, uint64_t, i));
    }
    put(&run);
    cow_end();
    if (pages) {
        g_array_set_size(pages, 0);
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

    bool few = !pages || pages->len <= FEW_PAGES;

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
