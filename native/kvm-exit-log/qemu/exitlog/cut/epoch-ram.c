/*
 * Exit log: guest memory in an epoch.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "exitlog/accel/dirty.h"
#include "exitlog/core/hash.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/cut/epoch-copy.h"
#include "exitlog/cut/epoch-ram.h"

/* Neighbours, to be one piece. */
typedef struct Run {
    unsigned no;
    RAMBlock *block;
    uint64_t page;
    uint64_t count;
    uint64_t most; /* in one piece */
    bool zero;
    size_t pages; /* put, in all */
} Run;

/* Before the first cut: a block, and what of it the image still lacks. */
typedef struct Ahead {
    RAMBlock *block;
    uint64_t pages;
    unsigned long *lacks;
    unsigned long *has; /* it was put: else it is zero there */
} Ahead;

/* The guest stands still for so long, at a visit, for pages that go ahead of the first cut. */
#define SLICE_NS (500 * (int64_t)SCALE_US)
#define SLICE_PAGES 64
/* With so few left the first cut is made; or after so many rounds. */
#define NEAR_PAGES 512
#define ROUNDS_MAX 6

static size_t page_bytes;
static GArray *ahead;     /* by number; NULL: the first cut was made */
static unsigned rounds;
static unsigned at_block; /* of the round */
static uint64_t at_page;

static void put(Run *run)
{
    if (run->count > 0) {
        exitlog_state_put(EXITLOG_PART_RAM + run->no, run->page * page_bytes,
                          run->zero ? NULL
                                    : run->block->host + run->page * page_bytes,
                          run->count * page_bytes);
        run->pages += run->count;
    }
    run->count = 0;
}

static bool is_zero(RAMBlock *block, uint64_t page)
{
    return buffer_is_zero(block->host + page * page_bytes, page_bytes);
}

static void add(Run *run, unsigned no, RAMBlock *block, uint64_t page, bool zero)
{
    if (run->count > 0 && no == run->no && page == run->page + run->count &&
        zero == run->zero && run->count < run->most) {
        run->count++;
        return;
    }
    put(run);
    run->no = no;
    run->block = block;
    run->page = page;
    run->zero = zero;
    run->count = 1;
}

/* Most are copied when the guest runs on. */
static void page_written(unsigned no, RAMBlock *block, unsigned long page,
                         void *opaque)
{
    Run *run = opaque;

    if (page * page_bytes >= block->used_length) {
        return;
    }
    if (epoch_copy_put(no, block, page)) {
        run->pages++;
    } else {
        add(run, no, block, page, is_zero(block, page));
    }
}

/* ACPI tables grow when a guest asks for them. */
static void put_blocks(bool anew)
{
    static uint64_t put_hash;
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    RAMBlock *ram;
    uint64_t hash;

    RAMBLOCK_FOREACH(ram) {
        struct exitlog_block block = {
            .bytes = ram->max_length,
            .used = ram->used_length,
        };

        pstrcpy(block.name, sizeof(block.name), ram->idstr);
        g_byte_array_append(bytes, (uint8_t *)&block, sizeof(block));
    }
    hash = exitlog_hash(bytes->data, bytes->len, 0);
    if (anew || hash != put_hash) {
        put_hash = hash;
        exitlog_state_put(EXITLOG_PART_BLOCKS, 0, bytes->data, bytes->len);
    }
}

static Ahead *ahead_of(unsigned no)
{
    return &g_array_index(ahead, Ahead, no);
}

static void lacks(unsigned no, RAMBlock *block, unsigned long page, void *count)
{
    if (page < ahead_of(no)->pages) {
        set_bit(page, ahead_of(no)->lacks);
        ++*(size_t *)count;
    }
}

/* What was written since the last round began.  Returns how many pages. */
static size_t next_round(void)
{
    size_t count = 0;

    exitlog_dirty_take(EXITLOG_DIRTY_EPOCH, lacks, &count);
    rounds++;
    at_block = 0;
    at_page = 0;
    return count;
}

/* A page goes; or not, being zero where it never was anything else. */
static void put_lacking(Run *run, unsigned no, uint64_t page)
{
    Ahead *a = ahead_of(no);
    bool zero = is_zero(a->block, page);

    clear_bit(page, a->lacks);
    if (page * page_bytes < a->block->used_length &&
        (!zero || test_bit(page, a->has))) {
        set_bit(page, a->has);
        add(run, no, a->block, page, zero);
    }
}

/* Until all are put, or it is `until`, or the ring has no room for more. */
static bool put_all_lacking(Run *run, int64_t until)
{
    for (; at_block < ahead->len; at_block++, at_page = 0) {
        Ahead *a = ahead_of(at_block);

        for (unsigned n = 0;; n++) {
            at_page = find_next_bit(a->lacks, a->pages, at_page);
            if (at_page >= a->pages) {
                break;
            }
            if (n % SLICE_PAGES == SLICE_PAGES - 1 &&
                (get_clock() > until ||
                 (until < INT64_MAX && !exitlog_state_has_room()))) {
                put(run);
                return false;
            }
            put_lacking(run, at_block, at_page);
        }
    }
    put(run);
    return true;
}

void epoch_ram_begin(void)
{
    RAMBlock *block;

    page_bytes = qemu_target_page_size();
    epoch_ram_end();
    ahead = g_array_new(false, true, sizeof(Ahead));
    RAMBLOCK_FOREACH(block) {
        Ahead a = { .block = block, .pages = block->max_length / page_bytes };

        a.lacks = bitmap_new(a.pages);
        a.has = bitmap_new(a.pages);
        bitmap_set(a.lacks, 0, a.pages);
        g_array_append_val(ahead, a);
    }
    rounds = 0;
    next_round();
    put_blocks(true);
}

bool epoch_ram_ahead(void)
{
    Run run = { .most = SLICE_PAGES };
    int64_t until = get_clock() + SLICE_NS;

    RCU_READ_LOCK_GUARD();
    if (!ahead || rounds > ROUNDS_MAX) {
        return false;
    }
    if (!exitlog_state_has_room() || !put_all_lacking(&run, until)) {
        return true;
    }
    return next_round() > NEAR_PAGES;
}

void epoch_ram_end(void)
{
    if (!ahead) {
        return;
    }
    for (unsigned no = 0; no < ahead->len; no++) {
        g_free(ahead_of(no)->lacks);
        g_free(ahead_of(no)->has);
    }
    g_array_unref(ahead);
    ahead = NULL;
}

size_t epoch_ram_cut(void)
{
    Run run = { .most = UINT64_MAX };

    RCU_READ_LOCK_GUARD();
    page_bytes = qemu_target_page_size();
    put_blocks(false);
    if (ahead) {
        /* What the round had not come to yet, and what was written meanwhile. */
        next_round();
        put_all_lacking(&run, INT64_MAX);
        epoch_ram_end();
    } else {
        exitlog_dirty_take(EXITLOG_DIRTY_EPOCH, page_written, &run);
        put(&run);
    }
    return run.pages;
}
