/*
 * Exit log: what devices write to memory that a debugger watches.
 *
 * QEMU's watchpoints see what the CPU stores, and DMA goes past them.  Under a debugger
 * each write of a device is compared with the watchpoints, by physical address:
 * where the debugger saw the watched address when it began to search (a buffer is mostly
 * filled while another process runs), and where the current vCPU has it.
 *
 * A device writes at a visit (a record, a bottom half, a timer), which stands before what
 * happens there, or during the instruction that asked it to, which stands before that.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exec/address-spaces.h"
#include "exec/breakpoint.h"
#include "exec/cpu-common.h"
#include "exec/memory.h"
#include "exec/target_page.h"
#include "hw/core/sysemu-cpu-ops.h"
#include "hw/qdev-core.h"
#include "qemu/cutils.h"
#include "qom/object.h"
#include "system/cpus.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/kick.h"
#include "exitlog/debug/debug-hits.h"
#include "exitlog/debug/debug-writes.h"

/* A part of a watchpoint, in one page. */
typedef struct Watched {
    uint64_t vaddr; /* of the watchpoint */
    uint64_t physical;
    uint64_t len;
} Watched;

static GArray *watched;
static const struct exitlog_record *applied;

void exitlog_debug_applies(const struct exitlog_record *r)
{
    applied = r;
}

bool exitlog_debug_physical(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ";", 0);

    if (watched) {
        g_array_free(watched, true);
    }
    watched = g_array_new(false, false, sizeof(Watched));
    for (char **part = parts; *part && **part; part++) {
        g_auto(GStrv) words = g_strsplit(*part, ",", 0);
        Watched w;

        if (g_strv_length(words) != 3 ||
            qemu_strtou64(words[0], NULL, 16, &w.vaddr) ||
            qemu_strtou64(words[1], NULL, 16, &w.physical) ||
            qemu_strtou64(words[2], NULL, 16, &w.len)) {
            return false;
        }
        g_array_append_val(watched, w);
    }
    return true;
}

int64_t exitlog_debug_translate(uint64_t addr)
{
    CPUState *cpu = exitlog_current_cpu();
    uint64_t in_page = addr & (qemu_target_page_size() - 1);
    MemTxAttrs attrs;
    hwaddr page = cpu_get_phys_page_attrs_debug(cpu, addr - in_page, &attrs);

    return page == (hwaddr)-1 ? -1 : (int64_t)(page + in_page);
}

/* Whether physical memory is what was written. */
static bool was_written(hwaddr physical, uint64_t len, uint64_t ram_addr,
                        uint64_t ram_len)
{
    hwaddr offset, left = len;
    MemoryRegion *mr;
    uint64_t at;

    RCU_READ_LOCK_GUARD();
    mr = address_space_translate(&address_space_memory, physical, &offset,
                                 &left, false, MEMTXATTRS_UNSPECIFIED);
    if (!memory_region_is_ram(mr)) {
        return false;
    }
    at = memory_region_get_ram_addr(mr) + offset;
    return at < ram_addr + ram_len && ram_addr < at + len;
}

static bool hits(const CPUWatchpoint *wp, uint64_t ram_addr, uint64_t ram_len)
{
    uint64_t page_size = qemu_target_page_size(), part;

    for (guint i = 0; watched && i < watched->len; i++) {
        const Watched *w = &g_array_index(watched, Watched, i);

        if (w->vaddr == wp->vaddr &&
            was_written(w->physical, w->len, ram_addr, ram_len)) {
            return true;
        }
    }
    for (uint64_t done = 0; done < wp->len; done += part) {
        uint64_t addr = wp->vaddr + done;
        int64_t physical = exitlog_debug_translate(addr);

        part = MIN(wp->len - done, page_size - (addr & (page_size - 1)));
        if (physical >= 0 && was_written(physical, part, ram_addr, ram_len)) {
            return true;
        }
    }
    return false;
}

/* QEMU's own note of who is at work: for a bottom half, or a register's access. */
static int busy_device(Object *obj, void *found)
{
    DeviceState *dev = (DeviceState *)object_dynamic_cast(obj, TYPE_DEVICE);

    if (dev && dev->mem_reentrancy_guard.engaged_in_io) {
        *(DeviceState **)found = dev;
    }
    return 0;
}

/* For a virtio device, its slot has the name that it was given. */
static const char *name_of(DeviceState *dev)
{
    while (!dev->id && dev->parent_bus && dev->parent_bus->parent &&
           dev->parent_bus->parent->id) {
        dev = dev->parent_bus->parent;
    }
    return dev->id ? dev->id : object_get_typename(OBJECT(dev));
}

/* "record KIND CHANNEL LEN ARG", "device NAME" or "reset". */
static void name_writer(DebugHit *hit)
{
    DeviceState *dev = NULL;

    if (!qemu_in_vcpu_thread()) {
        pstrcpy(hit->by, sizeof(hit->by), "reset");
        return;
    }
    if (applied) {
        snprintf(hit->by, sizeof(hit->by), "record %u %u %u %" PRIu64,
                 applied->kind, applied->channel, applied->len, applied->arg);
        return;
    }
    object_child_foreach_recursive(object_get_root(), busy_device, &dev);
    snprintf(hit->by, sizeof(hit->by), "device %s", dev ? name_of(dev) : "?");
    /* It has to fit into a packet (debug.c). */
    g_strdelimit(hit->by, ",;#$*}", '_');
}

static void note(CPUState *cpu, const CPUWatchpoint *wp)
{
    bool executing = cpu->running && qemu_in_vcpu_thread();
    /* An access to a device is the last instruction of its block. */
    int64_t icount = executing ? exitlog_icount_executed(cpu) - 1
                               : exitlog_icount();
    DebugHit hit = exitlog_debug_hit(cpu, exitlog_debug_kind(wp->flags), icount,
                                     wp->vaddr);

    hit.phase -= !executing;
    name_writer(&hit);
    if (xd.mode == 'l') {
        exitlog_debug_list(&hit);
    }
    if (xd.mode == 's' && !xd.hit.kind) {
        xd.hit = hit;
        exitlog_kick(); /* what is done is done: the next visit stops */
    }
}

/* BQL. */
void exitlog_debug_written(uint64_t ram_addr, uint64_t len)
{
    CPUState *cpu = exitlog_current_cpu();
    CPUWatchpoint *wp;

    if (!xd.running || !cpu || (applied && applied->kind == EXITLOG_CHECKPOINT)) {
        return;
    }
    QTAILQ_FOREACH(wp, &cpu->watchpoints, entry) {
        if ((wp->flags & BP_GDB) && (wp->flags & BP_MEM_WRITE) &&
            hits(wp, ram_addr, len)) {
            note(cpu, wp);
        }
    }
}
