/*
 * Exit log: guest memory in an epoch.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "qemu/cutils.h"
#include "qemu/rcu.h"
#include "exitlog/accel/dirty.h"
#include "exitlog/core/hash.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/cut/epoch-ram.h"

/* Neighbours, to be one piece. */
typedef struct Run {
    unsigned no;
    RAMBlock *block;
    uint64_t page;
    uint64_t count;
    bool zero;
    bool first;   /* all is zero there, as far as the image knows */
    size_t pages; /* put, in all */
} Run;

static size_t page_bytes;

static void put(Run *run)
{
    if (run->count > 0 && !(run->zero && run->first)) {
        exitlog_state_put(EXITLOG_PART_RAM + run->no, run->page * page_bytes,
                          run->zero ? NULL
                                    : run->block->host + run->page * page_bytes,
                          run->count * page_bytes);
        run->pages += run->count;
    }
    run->count = 0;
}

static void page_written(unsigned no, RAMBlock *block, unsigned long page,
                         void *opaque)
{
    Run *run = opaque;
    bool zero;

    if (page * page_bytes >= block->used_length) {
        return;
    }
    zero = buffer_is_zero(block->host + page * page_bytes, page_bytes);
    if (run->count > 0 && no == run->no && page == run->page + run->count &&
        zero == run->zero) {
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

/* ACPI tables grow when a guest asks for them. */
static void put_blocks(void)
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
    if (hash != put_hash) {
        put_hash = hash;
        exitlog_state_put(EXITLOG_PART_BLOCKS, 0, bytes->data, bytes->len);
    }
}

size_t epoch_ram_put(bool first)
{
    Run run = { .first = first };

    RCU_READ_LOCK_GUARD();
    page_bytes = qemu_target_page_size();
    put_blocks();
    exitlog_dirty_take(EXITLOG_DIRTY_EPOCH, page_written, &run);
    put(&run);
    return run.pages;
}
