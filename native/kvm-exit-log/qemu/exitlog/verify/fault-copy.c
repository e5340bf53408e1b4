/*
 * Exit log: writes that an epoch must not have, on purpose, for tests of copy on write.
 *
 *   -exitlog …,fault=copy:WRITER[:unhooked]
 *
 * After each cut, before any page is copied, the last byte of main memory changes as this
 * writer changes it.  Firmware reserves that page, and no guest looks there.  The byte is of the
 * next epoch; unhooked, the writer does not say so, and this one has it.  Where a store of the
 * guest is meant, or what notes it, there are enough of them.  "all": each in its turn.
 *
 * "check": as "cpu".  What will be copied later is kept in the pause, too, and the first page
 * whose copy is another ends the process, with where it differs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "cpu.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "hw/boards.h"
#include "exitlog/core/state.h"
#include "exitlog/verify/fault-copy.h"

unsigned exitlog_unhooked;

typedef struct Writer {
    const char *name;
    ExitlogWriter by;
    void (*begin)(void); /* before memory is looked at; NULL: nothing */
    void (*write)(void);
} Writer;

static hwaddr where;
static uint8_t value;
static uint8_t *pointer;
static hwaddr pointer_bytes;
static MemoryRegionCache cache;

static void by_nobody(void)
{
}

static void by_dma(void)
{
    address_space_write(&address_space_memory, where, MEMTXATTRS_UNSPECIFIED, &value, 1);
}

static void by_stb(void)
{
    address_space_stb(&address_space_memory, where, value, MEMTXATTRS_UNSPECIFIED, NULL);
}

static void by_stw(void)
{
    address_space_stw(&address_space_memory, where - 1, value, MEMTXATTRS_UNSPECIFIED, NULL);
}

static void by_stl(void)
{
    address_space_stl(&address_space_memory, where - 3, value, MEMTXATTRS_UNSPECIFIED, NULL);
}

static void by_stl_notdirty(void)
{
    address_space_stl_notdirty(&address_space_memory, where - 3, value,
                               MEMTXATTRS_UNSPECIFIED, NULL);
}

static void by_stq(void)
{
    address_space_stq(&address_space_memory, where - 7, value, MEMTXATTRS_UNSPECIFIED, NULL);
}

static void by_rom(void)
{
    address_space_write_rom(&address_space_memory, where, MEMTXATTRS_UNSPECIFIED, &value, 1);
}

static void map(void)
{
    pointer_bytes = 1;
    pointer = address_space_map(&address_space_memory, where, &pointer_bytes, true,
                                MEMTXATTRS_UNSPECIFIED);
}

static void by_map(void)
{
    *pointer = value;
    address_space_unmap(&address_space_memory, pointer, pointer_bytes, true, 1);
}

static void by_late_map(void)
{
    map();
    by_map();
}

static void cache_it(void)
{
    address_space_cache_init(&cache, &address_space_memory, where, 1, true);
}

static void by_cache(void)
{
    address_space_write_cached(&cache, 0, &value, 1);
    address_space_cache_invalidate(&cache, 0, 1);
    address_space_cache_destroy(&cache);
}

static const Writer writers[] = {
    { "cpu", EXITLOG_BY_CPU, NULL, by_nobody },
    { "check", EXITLOG_BY_CPU, NULL, by_nobody },
    { "dma", EXITLOG_BY_DMA, NULL, by_dma },
    { "stb", EXITLOG_BY_STORE, NULL, by_stb },
    { "stw", EXITLOG_BY_STORE, NULL, by_stw },
    { "stl", EXITLOG_BY_STORE, NULL, by_stl },
    { "stl-notdirty", EXITLOG_BY_STORE, NULL, by_stl_notdirty },
    { "stq", EXITLOG_BY_STORE, NULL, by_stq },
    { "rom", EXITLOG_BY_ROM, NULL, by_rom },
    { "map", EXITLOG_BY_MAP, map, by_map },
    { "late-map", EXITLOG_BY_MAP, NULL, by_late_map },
    { "cache", EXITLOG_BY_CACHE, cache_it, by_cache },
    { "notes-cpu", EXITLOG_NOTES_CPU, NULL, by_nobody },
    { "notes-device", EXITLOG_NOTES_DEVICE, NULL, by_dma },
};

static const Writer *writer; /* NULL: nobody writes on purpose */
static bool all;
static bool checks;
static uint8_t *kept; /* of main memory, what is to be copied, as at the cut */

void exitlog_fault_copy_configure(const char *name, bool unhooked)
{
    all = !strcmp(name, "all");
    checks = !strcmp(name, "check");
    for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
        if (all || !strcmp(name, writers[i].name)) {
            writer = &writers[i];
        }
    }
    if (!writer) {
        exitlog_fail("fault=copy:%s is not known", name);
    }
    exitlog_unhooked = unhooked && !all ? 1u << writer->by : 0;
    warn_report("exitlog: will do wrong on purpose: fault=copy:%s", name);
}

bool exitlog_fault_copy_is_on(void)
{
    return writer != NULL;
}

void exitlog_fault_copy_keep(const RAMBlock *block, uint64_t page)
{
    size_t bytes = qemu_target_page_size();

    if (checks) {
        kept = kept ?: g_malloc0(block->max_length);
        memcpy(kept + page * bytes, block->host + page * bytes, bytes);
    }
}

void exitlog_fault_copy_compare(uint64_t page, const uint8_t *copy)
{
    size_t bytes = qemu_target_page_size(), at = 0;
    const uint8_t *right;

    if (!checks) {
        return;
    }
    right = kept + page * bytes;
    while (copy[at] == right[at]) {
        if (++at == bytes) {
            return;
        }
    }
    exitlog_fail("an epoch has page %" PRIx64 " of main memory with %02x at %zx, where "
                 "%02x was at its cut", page, copy[at], at, right[at]);
}

void exitlog_fault_copy_cut(void)
{
    if (all) {
        writer = writer == writers ? writers + ARRAY_SIZE(writers) - 1 : writer - 1;
    }
    if (writer && writer->begin) {
        where = current_machine->ram_size - 1;
        writer->begin();
    }
}

void exitlog_fault_copy_write(void)
{
    if (writer) {
        where = current_machine->ram_size - 1;
        value++;
        writer->write();
    }
}
