/*
 * Exit log: looks into a replay, at positions asked for beforehand.
 *
 * -exitlog mode=replay,…,probes=FILE.  FILE has requests, a line each, in the
 * order of their positions:
 *
 *   digest ICOUNT                       state ICOUNT
 *   pages ICOUNT BLOCK:OFFSET,…         (offsets hexadecimal)
 *
 * FILE.out gets, for each, what was found at the first clean position from
 * ICOUNT on, after the inputs of that position, before its instruction:
 *
 *   digest ICOUNT AT VTIME ORDINAL CPU RAM DEVICES OUTPUTS
 *   state ICOUNT AT VTIME ORDINAL, then lines
 *     register TEXT | section ID INSTANCE BYTES-IN-HEX | page BLOCK OFFSET HASH
 *   content ICOUNT AT BLOCK OFFSET GPA BYTES-IN-HEX
 *
 * A look changes nothing that the guest could see.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exec/memory.h"
#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "hw/core/cpu.h"
#include "exitlog/core/state.h"
#include "exitlog/verify/digest.h"
#include "exitlog/verify/probe.h"
#include "exitlog/verify/ram-digest.h"

static FILE *requests, *out;
static char verb[16];
static char *rest; /* of the request's line */
static int64_t wanted = INT64_MAX;

static void next_request(void)
{
    static char *line;
    static size_t size;
    int used = 0;

    wanted = INT64_MAX;
    if (getline(&line, &size, requests) < 0) {
        return;
    }
    if (sscanf(line, "%15s %" SCNd64 " %n", verb, &wanted, &used) != 2) {
        exitlog_fail("probes: '%s' is not understood", line);
    }
    rest = line + used;
    rest[strcspn(rest, "\n")] = 0;
}

void exitlog_probe_configure(const char *file)
{
    g_autofree char *out_file = file ? g_strdup_printf("%s.out", file) : NULL;

    if (!file) {
        return;
    }
    if (xl.live) {
        exitlog_fail("probes are only for mode=replay");
    }
    requests = fopen(file, "r");
    out = requests ? fopen(out_file, "w") : NULL;
    if (!out) {
        exitlog_fail("cannot open %s: %s", requests ? out_file : file,
                     strerror(errno));
    }
    next_request();
}

static void put_head(Position p)
{
    fprintf(out, "%s %" PRId64 " %" PRId64 " %" PRId64 " %" PRIu64, verb,
            wanted, p.icount, p.vtime_ns, xl.shm->in.tail);
}

static void put_digest(Position p)
{
    struct exitlog_digest d = exitlog_digest();

    put_head(p);
    fprintf(out, " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64
            "\n", d.cpu, d.ram, d.devices, d.outputs);
}

static void put_hex(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        fprintf(out, "%02x", bytes[i]);
    }
    fputc('\n', out);
}

static void put_section(const char *id, uint32_t instance,
                        const uint8_t *bytes, size_t len)
{
    fprintf(out, "section %s %" PRIu32 " ", id, instance);
    put_hex(bytes, len);
}

static void put_registers(void)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    size_t size;
    FILE *memory = open_memstream(&text, &size);
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        fprintf(memory, "vCPU %d\n", cpu->cpu_index);
        cpu_dump_state(cpu, memory, CPU_DUMP_FPU | CPU_DUMP_CODE);
    }
    fclose(memory);
    lines = g_strsplit(text, "\n", 0);
    for (char **line = lines; *line; line++) {
        if (**line) {
            fprintf(out, "register %s\n", *line);
        }
    }
}

static void put_state(Position p)
{
    put_head(p);
    fputc('\n', out);
    put_registers();
    exitlog_each_section(put_section);
    exitlog_ram_digest_full(out);
}

typedef struct Place {
    MemoryRegion *mr;
    hwaddr offset;
    hwaddr gpa;
} Place;

static bool find_gpa(Int128 start, Int128 len, const MemoryRegion *mr,
                     hwaddr offset_in_region, void *opaque)
{
    Place *place = opaque;

    if (mr == place->mr && place->offset >= offset_in_region &&
        place->offset - offset_in_region < int128_get64(len)) {
        place->gpa = int128_get64(start) + place->offset - offset_in_region;
        return true;
    }
    return false;
}

static void put_page(Position p, const char *name, uint64_t offset)
{
    RAMBlock *block = qemu_ram_block_by_name(name);
    Place place = { .offset = offset, .gpa = -1 };

    if (!block || offset >= block->used_length) {
        return;
    }
    place.mr = block->mr;
    WITH_RCU_READ_LOCK_GUARD() {
        flatview_for_each_range(
            address_space_to_flatview(&address_space_memory), find_gpa, &place);
    }
    fprintf(out, "content %" PRId64 " %" PRId64 " %s %" PRIx64 " %" PRIx64 " ",
            wanted, p.icount, name, offset, place.gpa);
    put_hex(block->host + offset, qemu_target_page_size());
}

static void put_pages(Position p)
{
    g_auto(GStrv) pages = g_strsplit(rest, ",", 0);

    for (char **page = pages; *page; page++) {
        char *colon = strrchr(*page, ':');

        if (!colon) {
            exitlog_fail("probes: '%s' is not BLOCK:OFFSET", *page);
        }
        *colon = 0;
        put_page(p, *page, g_ascii_strtoull(colon + 1, NULL, 16));
    }
}

/* What is asked for at this position, and before. */
static void answer(Position now)
{
    while (wanted <= now.icount) {
        if (!strcmp(verb, "digest")) {
            put_digest(now);
        } else if (!strcmp(verb, "state")) {
            put_state(now);
        } else {
            put_pages(now);
        }
        fflush(out); /* this process is ended by a signal, or a divergence */
        next_request();
    }
}

int64_t exitlog_probe_visit(Position now)
{
    if (wanted <= now.icount) {
        if (!exitlog_clean()) {
            return now.icount + 1;
        }
        answer(now);
    }
    return wanted;
}

void exitlog_probe_before_end(Position now)
{
    answer(now);
}
