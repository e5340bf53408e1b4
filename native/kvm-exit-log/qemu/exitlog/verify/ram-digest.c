/*
 * Exit log: the hash of guest memory, kept up to date page by page.
 *
 * Sum (mod 2^64) over all pages of H(block, page number, content).  For a page
 * written since the last time the old term is subtracted and the new one added,
 * so the cost follows what the guest writes, not how much memory it has.
 * A few other pages are hashed again each time, in turn: memory that changed
 * without being written (a bad DIMM, a write that nobody noted) is found too,
 * though later.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "exec/target_page.h"
#include "exitlog/accel/dirty.h"
#include "exitlog/core/hash.h"
#include "exitlog/exitlog_hash.h"
#include "exitlog/verify/ram-digest.h"

#define SCRUB_PAGES 128

typedef struct Block {
    uint64_t *terms; /* of each page */
    uint64_t seed;
    uint64_t used_pages;
    RAMBlock *block;
} Block;

static GArray *table; /* by block number */
static uint64_t sum;
static bool unfinished; /* some pages of the last one are hashed later */

static uint64_t seed_of(RAMBlock *block)
{
    return exitlog_hash(block->idstr, strlen(block->idstr), 0);
}

static uint64_t page_hash(const void *bytes, uint64_t seed, uint64_t page)
{
    return exitlog_hash(bytes, qemu_target_page_size(),
                        seed + page * EXITLOG_HASH_PAGE);
}

static const void *page_at(const RAMBlock *block, uint64_t page)
{
    return block->host + page * qemu_target_page_size();
}

/* A block may be resized (ACPI tables at reset): pages beyond do not count. */
static void resize(Block *b, uint64_t used)
{
    for (uint64_t p = used; p < b->used_pages; p++) {
        sum -= b->terms[p];
        b->terms[p] = 0;
    }
    b->used_pages = used;
}

static Block *block_at(unsigned no, RAMBlock *block)
{
    uint64_t used = block->used_length / qemu_target_page_size();
    Block *b;

    if (no >= table->len) {
        g_array_set_size(table, no + 1);
    }
    b = &g_array_index(table, Block, no);
    if (!b->terms) {
        b->terms = g_new0(uint64_t,
                          block->max_length / qemu_target_page_size());
        b->seed = seed_of(block);
        b->block = block;
    }
    if (used != b->used_pages) {
        resize(b, used);
    }
    return b;
}

static void hash_again(Block *b, uint64_t page, const void *bytes)
{
    uint64_t term = page_hash(bytes, b->seed, page);

    sum += term - b->terms[page];
    b->terms[page] = term;
}

static void page_written(unsigned no, RAMBlock *block, unsigned long page,
                         void *later)
{
    Block *b = block_at(no, block);

    if (page < b->used_pages &&
        !(later && *(ExitlogLater **)later && (*(ExitlogLater **)later)(no, block, page))) {
        hash_again(b, page, page_at(block, page));
    }
}

static void scrub(void)
{
    static unsigned no;
    static uint64_t page;

    for (int n = 0; n < SCRUB_PAGES; n++) {
        Block *b;

        no = no < table->len ? no : 0;
        b = &g_array_index(table, Block, no);
        if (page >= b->used_pages) {
            no++;
            page = 0;
        } else {
            hash_again(b, page, page_at(b->block, page));
            page++;
        }
    }
}

static void hash_written(ExitlogLater *later)
{
    if (!table) {
        table = g_array_new(false, true, sizeof(Block));
    }
    exitlog_dirty_take(EXITLOG_DIRTY_DIGEST, page_written, &later);
    scrub();
}

uint64_t exitlog_ram_digest(void)
{
    if (qatomic_load_acquire(&unfinished)) {
        return exitlog_ram_digest_full(NULL);
    }
    hash_written(NULL);
    return sum;
}

void exitlog_ram_digest_begin(ExitlogLater *later)
{
    qatomic_set(&unfinished, true);
    hash_written(later);
}

void exitlog_ram_digest_page(unsigned block_no, uint64_t page, const void *bytes)
{
    hash_again(&g_array_index(table, Block, block_no), page, bytes);
}

uint64_t exitlog_ram_digest_end(void)
{
    uint64_t digest = sum;

    qatomic_store_release(&unfinished, false);
    return digest;
}

uint64_t exitlog_ram_digest_full(FILE *dump)
{
    RAMBlock *block;
    uint64_t total = 0;

    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(block) {
        uint64_t pages = block->used_length / qemu_target_page_size();
        uint64_t seed = seed_of(block);

        for (uint64_t p = 0; p < pages; p++) {
            uint64_t term = page_hash(page_at(block, p), seed, p);

            total += term;
            if (dump) {
                fprintf(dump, "page %s %" PRIx64 " %016" PRIx64 "\n",
                        block->idstr, p * qemu_target_page_size(), term);
            }
        }
    }
    return total;
}
