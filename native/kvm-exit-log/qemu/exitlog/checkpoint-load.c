/*
 * Exit log: a replay that starts at a checkpoint.
 *
 * -exitlog mode=replay,…,checkpoint=FILE.  FILE names the folders of a chain, a
 * line each: a full checkpoint first, the one to start at last.  The daemon has
 * verified them, and has made the disks as they were.
 *
 * The machine is made as at power-on; at its first visit, before an instruction,
 * memory and devices are replaced, and the log's records up to the CHECKPOINT
 * are passed over.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "checkpoint.h"
#include "exec/ramblock.h"
#include "exec/memory.h"
#include "exec/target_page.h"
#include "qemu/cutils.h"

static char **chain;         /* folders; NULL: start at power-on */
static CheckpointState head;
static uint8_t *sections;

static FILE *open_file(const char *dir, const char *name)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    FILE *f = fopen(path, "r");

    if (!f) {
        exitlog_fail("cannot open %s: %s", path, strerror(errno));
    }
    return f;
}

static void get(FILE *f, void *into, size_t len, const char *what)
{
    if (fread(into, 1, len, f) != len) {
        exitlog_fail("a checkpoint's %s is cut short", what);
    }
}

void exitlog_checkpoint_from(const char *file)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    FILE *f;

    if (!file) {
        return;
    }
    if (xl.live || !g_file_get_contents(file, &text, NULL, &error)) {
        exitlog_fail("checkpoint=%s: %s", file,
                     xl.live ? "only for mode=replay" : error->message);
    }
    chain = g_strsplit(g_strchomp(text), "\n", 0);
    f = open_file(chain[g_strv_length(chain) - 1], "state");
    get(f, &head, sizeof(head), "state");
    if (head.magic != CHECKPOINT_STATE_MAGIC) {
        exitlog_fail("a checkpoint's state is none");
    }
    sections = g_malloc(head.sections_bytes);
    get(f, sections, head.sections_bytes, "state");
    fclose(f);
}

/* entropy.c: what the machine got while it was made, at power-on or reset. */
bool exitlog_checkpoint_seed(void *buf, size_t len)
{
    if (!chain) {
        return false;
    }
    memset(buf, 0, len);
    if (len == head.boot_seed_len) {
        memcpy(buf, head.boot_seed, len);
    }
    return true;
}

static RAMBlock **load_blocks(FILE *f, uint32_t count, bool full)
{
    RAMBlock **blocks = g_new(RAMBlock *, count);

    for (uint32_t i = 0; i < count; i++) {
        CheckpointRamBlock b;

        get(f, &b, sizeof(b), "memory");
        b.name[sizeof(b.name) - 1] = 0;
        blocks[i] = qemu_ram_block_by_name(b.name);
        if (!blocks[i] || b.used_bytes > blocks[i]->max_length) {
            exitlog_fail("this machine has no memory '%s' of %" PRIu64
                         " bytes", b.name, b.used_bytes);
        }
        if (b.used_bytes != blocks[i]->used_length) {
            memory_region_ram_resize(blocks[i]->mr, b.used_bytes,
                                     &error_fatal);
        }
        if (full && !buffer_is_zero(blocks[i]->host, blocks[i]->max_length)) {
            memset(blocks[i]->host, 0, blocks[i]->max_length);
        }
    }
    return blocks;
}

static void load_ram(const char *dir, bool full)
{
    FILE *f = open_file(dir, "ram");
    g_autofree RAMBlock **blocks = NULL;
    CheckpointRamHead ram;
    CheckpointRamRun run;

    get(f, &ram, sizeof(ram), "memory");
    if (ram.magic != CHECKPOINT_RAM_MAGIC ||
        ram.page_bytes != qemu_target_page_size()) {
        exitlog_fail("a checkpoint's memory is none");
    }
    blocks = load_blocks(f, ram.blocks, full);
    while (fread(&run, 1, sizeof(run), f) == sizeof(run)) {
        uint64_t at = run.page * ram.page_bytes;
        uint64_t len = run.count * ram.page_bytes;

        if (run.block >= ram.blocks ||
            at + len > blocks[run.block]->max_length) {
            exitlog_fail("a checkpoint's memory has a page that is none");
        }
        qatomic_set(&xl.shm->visits, xl.shm->visits + 1); /* it lives */
        if (run.zero) {
            memset(blocks[run.block]->host + at, 0, len);
        } else {
            get(f, blocks[run.block]->host + at, len, "memory");
        }
    }
    fclose(f);
}

/* The records before this position are in the state. */
static void pass_over_records(void)
{
    struct exitlog_record seen = { 0 };
    Position now = exitlog_position();

    while (xl.shm->in.tail <= head.ordinal) {
        const struct exitlog_record *r = exitlog_peek_wait();

        if (!r) {
            exitlog_fail("the log ends before the checkpoint");
        }
        seen = *r;
        exitlog_consume();
    }
    if (seen.kind != EXITLOG_CHECKPOINT || seen.arg != head.digest ||
        (int64_t)seen.icount != now.icount || seen.vtime_ns != now.vtime_ns) {
        exitlog_fail("the checkpoint at icount %" PRId64 " is not of this log",
                     now.icount);
    }
}

/* At a visit: the first one loads. */
void exitlog_checkpoint_start(void)
{
    if (likely(!chain)) {
        return;
    }
    for (char **dir = chain; *dir; dir++) {
        load_ram(*dir, dir == chain);
    }
    checkpoint_state_restore(&head, sections);
    g_strfreev(chain);
    chain = NULL;
    g_free(sections);
    exitlog_digest_begin();
    pass_over_records();
}
