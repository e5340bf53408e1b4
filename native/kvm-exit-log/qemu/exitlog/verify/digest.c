/*
 * Exit log: the digest of CPU, RAM and devices at a position.
 *
 * Devices are hashed through their migration state, section by section.  Left
 * out: sections that hold host time or the host's connections and nothing the
 * guest can see.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "io/channel-buffer.h"
#include "migration/qemu-file.h"
#include "migration/exitlog-savevm.h"
#include "migration/savevm.h"
#include "exitlog/core/hash.h"
#include "exitlog/core/state.h"
#include "exitlog/verify/digest.h"
#include "exitlog/verify/ram-digest.h"

typedef struct Sections {
    QEMUFile *file;
    QIOChannelBuffer *buffer;
    void (*each)(const char *id, uint32_t instance, const uint8_t *bytes,
                 size_t len);
    FILE *dump; /* EXITLOG_DIGEST_DUMP=FILE: one line per section, for triage */
    uint64_t cpu;
    uint64_t devices;
} Sections;

/*
 * "timer": host clock offsets; where nothing is counted they are the guest's time, which
 * whoever loads the sections goes on from.  "globalstate": QEMU's run state.
 */
static bool want_section(const char *id, void *opaque)
{
    const Sections *s = opaque;

    if (!strcmp(id, "timer")) {
        return s->each && !exitlog_exact();
    }
    return strcmp(id, "globalstate") && strcmp(id, "slirp") && strcmp(id, "dirty-bitmap");
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
    if (s->each) {
        s->each(id, instance, s->buffer->data, s->buffer->usage);
    }
    s->buffer->usage = 0;
    s->buffer->offset = 0;
}

/*
 * Devices and CPUs.  Saving a device's state may bring cached values up to date
 * (the RTC's registers), which the guest would get on its next read anyway.
 */
static void hash_sections(Sections *s)
{
    s->buffer = qio_channel_buffer_new(256 * KiB);
    s->file = qemu_file_new_output(QIO_CHANNEL(s->buffer));
    if (qemu_save_device_sections(s->file, want_section, hash_section, s) < 0) {
        exitlog_fail("cannot save device state for a digest");
    }
    qemu_fclose(s->file);
    object_unref(OBJECT(s->buffer));
}

static struct exitlog_digest digest(const Sections *s, uint64_t ram)
{
    return (struct exitlog_digest) {
        .cpu = s->cpu,
        .ram = ram,
        .devices = s->devices,
        .outputs = xl.out_chain,
        .outputs_count = xl.out_count,
    };
}

/* EXITLOG_DIGEST_CHECK=N in the environment: memory against its table, each N-th time. */
static bool is_checked(void)
{
    static unsigned long every, count;
    static bool asked;

    if (!asked) {
        const char *text = getenv("EXITLOG_DIGEST_CHECK");

        asked = true;
        every = text ? strtoul(text, NULL, 10) : 0;
    }
    return every > 0 && count++ % every == 0;
}

struct exitlog_digest exitlog_digest(void)
{
    Sections s = { 0 };
    uint64_t ram = exitlog_ram_digest();

    if (is_checked() && ram != exitlog_ram_digest_full(NULL)) {
        exitlog_fail("guest memory was written without being marked dirty");
    }
    hash_sections(&s);
    return digest(&s, ram);
}

struct exitlog_digest exitlog_digest_but_ram(void)
{
    Sections s = { 0 };

    hash_sections(&s);
    return digest(&s, 0);
}

struct exitlog_digest exitlog_digest_full(void)
{
    const char *dump = getenv("EXITLOG_DIGEST_DUMP");
    Sections s = { .dump = dump ? fopen(dump, "w") : NULL };
    struct exitlog_digest d;

    hash_sections(&s);
    d = digest(&s, exitlog_ram_digest_full(s.dump));
    if (s.dump) {
        fclose(s.dump);
    }
    return d;
}

void exitlog_each_section(void (*each)(const char *id, uint32_t instance,
                                       const uint8_t *bytes, size_t len))
{
    Sections s = { .each = each };

    hash_sections(&s);
}
