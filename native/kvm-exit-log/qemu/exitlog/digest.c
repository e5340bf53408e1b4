/*
 * Exit log: the digest of CPU, RAM and devices at a position.
 *
 * Devices are hashed through their migration state, section by section.  Left
 * out: sections that hold host time or the host's connections and nothing the
 * guest can see.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "internal.h"
#include "exec/cpu-common.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "io/channel-buffer.h"
#include "migration/qemu-file.h"
#include "migration/exitlog-savevm.h"
#include "migration/savevm.h"

typedef struct Sections {
    QEMUFile *file;
    QIOChannelBuffer *buffer;
    FILE *dump; /* EXITLOG_DIGEST_DUMP=FILE: one line per section, for triage */
    uint64_t cpu;
    uint64_t devices;
} Sections;

/* "timer": host clock offsets.  "globalstate": QEMU's run state. */
static bool skipped(const char *id)
{
    return !strcmp(id, "timer") || !strcmp(id, "globalstate") ||
        !strcmp(id, "slirp") || !strcmp(id, "dirty-bitmap");
}

static bool want_section(const char *id, void *opaque)
{
    return !skipped(id);
}

/*
 * QEMU numbers sections in the order in which they were registered, and a back
 * end that only the live side has (slirp) takes a number of its own: the
 * numbers, in a section's head and foot, say nothing about the guest.
 */
static void forget_section_id(uint8_t *data, size_t len)
{
    if (len < 10) {
        return;
    }
    memset(data + 1, 0, sizeof(uint32_t));
    if (data[len - 5] == QEMU_VM_SECTION_FOOTER) {
        memset(data + len - 4, 0, sizeof(uint32_t));
    }
}

static void hash_section(const char *id, uint32_t instance, void *opaque)
{
    Sections *s = opaque;
    uint64_t h;

    qemu_fflush(s->file);
    forget_section_id(s->buffer->data, s->buffer->usage);
    h = exitlog_hash(s->buffer->data, s->buffer->usage, instance);
    if (!strcmp(id, "cpu") || !strcmp(id, "cpu_common")) {
        s->cpu = exitlog_hash(&h, sizeof(h), s->cpu);
    } else {
        s->devices = exitlog_hash(&h, sizeof(h), s->devices);
    }
    if (s->dump) {
        fprintf(s->dump, "section %s %u %zu %016" PRIx64 "\n", id, instance,
                s->buffer->usage, h);
    }
    s->buffer->usage = 0;
    s->buffer->offset = 0;
}

static uint64_t hash_ram(FILE *dump)
{
    RAMBlock *block;
    uint64_t h = 0;

    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(block) {
        uint64_t b = exitlog_hash(block->host, block->used_length, 0);

        h = exitlog_hash(&b, sizeof(b), h);
        if (dump) {
            fprintf(dump, "ram %s %" PRIu64 " %016" PRIx64 "\n", block->idstr,
                    (uint64_t)block->used_length, b);
            for (uint64_t o = 0; o + 4096 <= block->used_length; o += 4096) {
                fprintf(dump, "page %s %" PRIx64 " %016" PRIx64 "\n",
                        block->idstr, o,
                        exitlog_hash(block->host + o, 4096, 0));
            }
        }
    }
    return h;
}

struct exitlog_digest exitlog_digest(void)
{
    const char *dump = getenv("EXITLOG_DIGEST_DUMP");
    Sections s = { .dump = dump ? fopen(dump, "w") : NULL };
    struct exitlog_digest d = {
        .outputs = xl.out_chain,
        .outputs_count = xl.out_count,
    };

    s.buffer = qio_channel_buffer_new(1 * MiB);
    s.file = qemu_file_new_output(QIO_CHANNEL(s.buffer));
    if (qemu_save_device_sections(s.file, want_section, hash_section, &s) < 0) {
        exitlog_fail("cannot save device state for a digest");
    }
    d.cpu = s.cpu;
    d.devices = s.devices;
    d.ram = hash_ram(s.dump);
    qemu_fclose(s.file);
    object_unref(OBJECT(s.buffer));
    if (s.dump) {
        fclose(s.dump);
    }
    return d;
}
