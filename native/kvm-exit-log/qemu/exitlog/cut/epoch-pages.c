/*
 * Exit log: how many pages were written since the last cut, counted as they are.
 *
 * Who is about to write to memory says so (exitlog_before_write()), and the first of them finds a
 * page that is not dirty.  It is a bound, not the epoch's number of pages: two vCPUs may
 * count one page, and so is one again that another client of the dirty bits has taken
 * meanwhile (dirty.c).  What is written by the pointer of a mapping counts when it is mapped.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "exec/ram_addr.h"
#include "exec/target_page.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/epoch-pages.h"

bool exitlog_counts_pages;

static uint64_t most;
static uint64_t written;
static bool reached;

void epoch_pages_begin(uint64_t pages)
{
    most = pages;
    qatomic_set(&written, 0);
    qatomic_set(&reached, false);
    qatomic_set(&exitlog_counts_pages, most > 0);
}

bool epoch_pages_take(void)
{
    return qatomic_read(&reached) && qatomic_xchg(&reached, false);
}

/* Any thread that writes to memory. */
void exitlog_count_pages(uint64_t ram_addr, uint64_t bytes)
{
    uint64_t page = qemu_target_page_size();
    uint64_t clean = 0, before;

    for (uint64_t at = QEMU_ALIGN_DOWN(ram_addr, page); at < ram_addr + bytes;
         at += page) {
        clean += !cpu_physical_memory_get_dirty_flag(at, DIRTY_MEMORY_MIGRATION);
    }
    if (!clean) {
        return;
    }
    before = qatomic_fetch_add(&written, clean);
    if (before < most && before + clean >= most) {
        qatomic_set(&reached, true);
        exitlog_kick();
    }
}
