/*
 * Exit log: which pages of guest memory were written.
 *
 * QEMU's bitmap of written pages (DIRTY_MEMORY_MIGRATION) is consumed here and
 * nowhere else, and shared among clients: the periodic digest, checkpoints.
 * Each client sees every page written since it asked last.
 *
 * Clearing a bit makes TCG note the next write to that page in a slow path;
 * TLB entries stay, so the guest cannot see it.  As long as no client has
 * started nothing is cleared, and nothing is slower.
 *
 * vCPU thread, at a visit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qapi/error.h"
#include "cpu.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "system/system.h"
#include "exitlog/accel/dirty.h"

typedef struct Tracked {
    RAMBlock *block;
    unsigned long pages; /* of max_length */
    unsigned long *written[EXITLOG_DIRTY_CLIENTS];
} Tracked;

static GArray *tracked;
static bool started[EXITLOG_DIRTY_CLIENTS];

/*
 * Before the guest runs, and on both sides of a log, digests or not: it
 * flushes TLBs, which must not happen on one side only.
 */
static void start_log(Notifier *n, void *unused)
{
    memory_global_dirty_log_start(GLOBAL_DIRTY_MIGRATION, &error_fatal);
}

void exitlog_dirty_init(void)
{
    static Notifier machine_done = { .notify = start_log };

    qemu_add_machine_init_done_notifier(&machine_done);
}

static void find_blocks(void)
{
    RAMBlock *block;

    tracked = g_array_new(false, true, sizeof(Tracked));
    RAMBLOCK_FOREACH(block) {
        Tracked t = {
            .block = block,
            .pages = block->max_length >> TARGET_PAGE_BITS,
        };
        g_array_append_val(tracked, t);
    }
}

static void start(ExitlogDirtyClient client)
{
    if (!tracked) {
        find_blocks();
    }
    for (unsigned i = 0; i < tracked->len; i++) {
        Tracked *t = &g_array_index(tracked, Tracked, i);

        t->written[client] = bitmap_new(t->pages);
        bitmap_set(t->written[client], 0, t->pages);
    }
    started[client] = true;
}

static void share(Tracked *t, unsigned long word, unsigned long bits)
{
    for (int c = 0; c < EXITLOG_DIRTY_CLIENTS; c++) {
        if (started[c]) {
            t->written[c][word] |= bits;
        }
    }
}

static void harvest(Tracked *t)
{
    /* A block starts at a whole word of the bitmap (find_ram_offset()). */
    unsigned long first = BIT_WORD(t->block->offset >> TARGET_PAGE_BITS);
    unsigned long words = BITS_TO_LONGS(t->pages);
    const unsigned long words_per_idx = BIT_WORD(DIRTY_MEMORY_BLOCK_SIZE);
    DirtyMemoryBlocks *blocks =
        qatomic_rcu_read(&ram_list.dirty_memory[DIRTY_MEMORY_MIGRATION]);
    bool any = false;

    if (!qemu_ram_is_migratable(t->block)) {
        /* Writes of devices to such a block are not noted. */
        for (unsigned long w = 0; w < words; w++) {
            share(t, w, ~0UL);
        }
        return;
    }
    for (unsigned long w = 0; w < words; w++) {
        unsigned long *src = &blocks->blocks[(first + w) / words_per_idx]
                                            [(first + w) % words_per_idx];

        if (*src) {
            share(t, w, qatomic_xchg(src, 0));
            any = true;
        }
    }
    if (any) {
        cpu_physical_memory_dirty_bits_cleared(t->block->offset,
                                               t->block->max_length);
    }
}

void exitlog_dirty_take(ExitlogDirtyClient client, ExitlogDirtyFn *each,
                        void *opaque)
{
    RCU_READ_LOCK_GUARD();
    if (!started[client]) {
        start(client);
    }
    for (unsigned i = 0; i < tracked->len; i++) {
        Tracked *t = &g_array_index(tracked, Tracked, i);
        unsigned long *bits = t->written[client];
        unsigned long page;

        harvest(t);
        for (page = find_first_bit(bits, t->pages); page < t->pages;
             page = find_next_bit(bits, t->pages, page + 1)) {
            each(i, t->block, page, opaque);
        }
        bitmap_zero(bits, t->pages);
    }
}

int exitlog_dirty_block_no(const RAMBlock *block)
{
    for (unsigned i = 0; tracked && i < tracked->len; i++) {
        Tracked *t = &g_array_index(tracked, Tracked, i);

        if (t->block == block) {
            return qemu_ram_is_migratable(t->block) ? (int)i : -1;
        }
    }
    return -1;
}

bool exitlog_dirty_has(ExitlogDirtyClient client, unsigned block_no,
                       unsigned long page)
{
    Tracked *t = &g_array_index(tracked, Tracked, block_no);

    return !started[client] || test_bit(page, t->written[client]) ||
        cpu_physical_memory_get_dirty_flag(
            t->block->offset + ((ram_addr_t)page << TARGET_PAGE_BITS),
            DIRTY_MEMORY_MIGRATION);
}
