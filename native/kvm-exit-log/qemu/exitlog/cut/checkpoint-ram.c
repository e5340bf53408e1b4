/*
 * Exit log: guest memory in a checkpoint.
 *
 * Pages are staged in memory of our own, a slot for each.  The helper fills the
 * slots while the guest runs on; a page that is written meanwhile is marked dirty
 * again and copied once more at the visit, where nothing runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exec/target_page.h"
#include "exec/ramblock.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "exitlog/accel/dirty.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint-pack.h"
#include "exitlog/cut/checkpoint-ram.h"
#include <sys/mman.h>

/* Kept for the next time, so that copying at a visit finds memory there. */
#define POOL_KEPT_BYTES (64 * MiB)

typedef struct Block {
    RAMBlock *ram;
    uint32_t *slot_of;  /* by page: slot + 1, or 0 */
    uint64_t pages;     /* of max_length */
    uint64_t used;      /* bytes, at the visit of the checkpoint */
} Block;

typedef struct Slot {
    uint32_t block;
    uint64_t page;
} Slot;

static GArray *blocks;  /* as dirty.c numbers them */
static Slot *slots;
static size_t count, slots_max;
static uint32_t *todo;  /* slots to be filled by the helper, or again */
static size_t todo_count;
static uint8_t *pool;
static size_t page_bytes;

static Block *block_at(unsigned no)
{
    return &g_array_index(blocks, Block, no);
}

static void init(void)
{
    RAMBlock *ram;

    page_bytes = qemu_target_page_size();
    blocks = g_array_new(false, true, sizeof(Block));
    RAMBLOCK_FOREACH(ram) {
        Block b = { .ram = ram, .pages = ram->max_length / page_bytes };

        b.slot_of = g_new0(uint32_t, b.pages);
        g_array_append_val(blocks, b);
        slots_max += b.pages;
    }
    slots = g_new(Slot, slots_max);
    todo = g_new(uint32_t, slots_max);
    pool = mmap(NULL, slots_max * page_bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool == MAP_FAILED) {
        exitlog_fail("no address space to stage a checkpoint: %s",
                     strerror(errno));
    }
}

static size_t slot_for(unsigned no, uint64_t page)
{
    uint32_t *slot = &block_at(no)->slot_of[page];

    if (!*slot) {
        slots[count] = (Slot) { .block = no, .page = page };
        *slot = ++count;
    }
    return *slot - 1;
}

static void collect(unsigned no, RAMBlock *ram, unsigned long page,
                    void *opaque)
{
    todo[todo_count++] = slot_for(no, page);
}

/* Those of the last time have been copied. */
size_t checkpoint_ram_collect(bool all)
{
    RCU_READ_LOCK_GUARD();
    if (!blocks) {
        init();
    }
    todo_count = 0;
    exitlog_dirty_take(EXITLOG_DIRTY_CHECKPOINT, collect, NULL);
    if (all) {
        todo_count = 0; /* these too are among all */
        for (unsigned no = 0; no < blocks->len; no++) {
            for (uint64_t page = 0; page < block_at(no)->pages; page++) {
                collect(no, NULL, page, NULL);
            }
        }
    }
    return todo_count;
}

static void copy(size_t slot)
{
    Block *b = block_at(slots[slot].block);
    uint64_t at = slots[slot].page * page_bytes;

    if (at < b->ram->used_length) {
        memcpy(pool + slot * page_bytes, b->ram->host + at, page_bytes);
    }
}

void checkpoint_ram_copy(void)
{
    for (size_t i = 0; i < todo_count; i++) {
        copy(todo[i]);
    }
}

static void copy_again(unsigned no, RAMBlock *ram, unsigned long page,
                       void *opaque)
{
    copy(slot_for(no, page));
}

void checkpoint_ram_cut(void)
{
    RCU_READ_LOCK_GUARD();
    exitlog_dirty_take(EXITLOG_DIRTY_CHECKPOINT, copy_again, NULL);
    for (unsigned no = 0; no < blocks->len; no++) {
        block_at(no)->used = block_at(no)->ram->used_length;
    }
}

static bool is_zero(size_t slot)
{
    return buffer_is_zero(pool + slot * page_bytes, page_bytes);
}

static bool is_used(size_t slot)
{
    return slots[slot].page * page_bytes < block_at(slots[slot].block)->used;
}

/* How many slots from `first` on are one run of pages, all zero or none. */
static size_t run_length(size_t first, bool zero)
{
    size_t n = 1;

    while (first + n < count && (n + 1) * page_bytes <= CHECKPOINT_PACK_BYTES &&
           slots[first + n].block == slots[first].block &&
           slots[first + n].page == slots[first].page + n &&
           is_used(first + n) && is_zero(first + n) == zero) {
        n++;
    }
    return n;
}

/* In a full one, a page that is not there is zero. */
void checkpoint_ram_write(CheckpointFile *f, bool full)
{
    CheckpointRamHead head = {
        .magic = CHECKPOINT_RAM_MAGIC,
        .page_bytes = page_bytes,
        .blocks = blocks->len,
    };
    size_t n;

    checkpoint_put(f, &head, sizeof(head));
    for (unsigned no = 0; no < blocks->len; no++) {
        CheckpointRamBlock b = { .used_bytes = block_at(no)->used };

        pstrcpy(b.name, sizeof(b.name), block_at(no)->ram->idstr);
        checkpoint_put(f, &b, sizeof(b));
    }
    for (size_t slot = 0; slot < count && !f->error; slot += n) {
        CheckpointRamRun run = {
            .block = slots[slot].block,
            .page = slots[slot].page,
        };
        const void *stored;

        n = 1;
        if (!is_used(slot)) {
            continue;
        }
        run.count = n = run_length(slot, is_zero(slot));
        stored = checkpoint_pack(pool + slot * page_bytes, n * page_bytes,
                                 &run.stored);
        if (run.stored > 0 || !full) {
            checkpoint_put(f, &run, sizeof(run));
            checkpoint_put(f, stored, run.stored);
        }
    }
}

void checkpoint_ram_forget(void)
{
    size_t bytes = count * page_bytes;

    for (size_t slot = 0; slot < count; slot++) {
        block_at(slots[slot].block)->slot_of[slots[slot].page] = 0;
    }
    count = 0;
    if (bytes > POOL_KEPT_BYTES) {
        madvise(pool + POOL_KEPT_BYTES, bytes - POOL_KEPT_BYTES,
                MADV_DONTNEED);
    }
}
