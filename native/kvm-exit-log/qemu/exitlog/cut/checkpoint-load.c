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
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "exec/ramblock.h"
#include "exec/memory.h"
#include "exec/target_page.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint-load.h"
#include "exitlog/cut/checkpoint-pack.h"
#include "exitlog/cut/checkpoint-state.h"
#include "exitlog/exits/entropy.h"
#include "exitlog/verify/periodic.h"

/* A recording may be anybody's.  Devices take less than 1 MiB; a machine has about ten blocks. */
#define SECTIONS_BYTES_MAX (256 * MiB)
#define BLOCKS_MAX 64

static GPtrArray *chain;     /* GMappedFile: each one's memory; NULL: start at power-on */
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

/* It is loaded at the first visit, when this process cannot open files any more. */
static GMappedFile *open_memory(const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "ram", NULL);
    g_autoptr(GError) error = NULL;
    GMappedFile *file = g_mapped_file_new(path, false, &error);

    if (!file) {
        exitlog_fail("cannot open %s: %s", path, error->message);
    }
    return file;
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
    g_auto(GStrv) folders = NULL;
    FILE *f;

    if (!file) {
        return;
    }
    if (xl.live || !g_file_get_contents(file, &text, NULL, &error)) {
        exitlog_fail("checkpoint=%s: %s", file,
                     xl.live ? "only for mode=replay" : error->message);
    }
    folders = g_strsplit(g_strchomp(text), "\n", 0);
    f = open_file(folders[g_strv_length(folders) - 1], "state");
    get(f, &head, sizeof(head), "state");
    if (head.magic != CHECKPOINT_STATE_MAGIC || head.sections_bytes > SECTIONS_BYTES_MAX ||
        head.boot_seed_len > sizeof(head.boot_seed)) {
        exitlog_fail("a checkpoint's state is none");
    }
    sections = g_malloc(head.sections_bytes);
    get(f, sections, head.sections_bytes, "state");
    fclose(f);
    chain = g_ptr_array_new_with_free_func((GDestroyNotify)g_mapped_file_unref);
    for (char **dir = folders; *dir; dir++) {
        g_ptr_array_add(chain, open_memory(*dir));
    }
    exitlog_boot_seed_preset(head.boot_seed, head.boot_seed_len);
}

/* The file, from where it has not been taken yet. */
typedef struct Reader {
    const uint8_t *at;
    size_t left;
} Reader;

static const void *take(Reader *r, size_t len)
{
    const void *at = r->at;

    if (len > r->left) {
        exitlog_fail("a checkpoint's memory is cut short");
    }
    r->at += len;
    r->left -= len;
    return at;
}

/* A block of this machine, and which of its pages have their content. */
typedef struct Target {
    RAMBlock *ram;
    unsigned long *loaded;
    uint64_t pages;
} Target;

static GArray *targets;
static size_t page_bytes;

static Target *target_of(const CheckpointRamBlock *b)
{
    RAMBlock *ram = qemu_ram_block_by_name(b->name);
    Target t = { .ram = ram };

    if (!ram || b->used_bytes > ram->max_length) {
        exitlog_fail("this machine has no memory '%s' of %" PRIu64 " bytes",
                     b->name, b->used_bytes);
    }
    for (unsigned no = 0; no < targets->len; no++) {
        if (g_array_index(targets, Target, no).ram == ram) {
            return &g_array_index(targets, Target, no);
        }
    }
    /* The newest one's size. */
    if (b->used_bytes != ram->used_length) {
        memory_region_ram_resize(ram->mr, b->used_bytes, &error_fatal);
    }
    t.pages = ram->max_length / page_bytes;
    t.loaded = bitmap_new(t.pages);
    g_array_append_val(targets, t);
    return &g_array_index(targets, Target, targets->len - 1);
}

static void load_run(Target *t, const CheckpointRamRun *run, const void *stored)
{
    static uint8_t part[CHECKPOINT_PACK_BYTES];
    unsigned long first = run->page, end = first + run->count, page;
    uint8_t *host = t->ram->host;
    bool whole = find_next_bit(t->loaded, end, first) >= end;

    page = find_next_zero_bit(t->loaded, end, first);
    if (page >= end) {
        return; /* newer ones have all of it */
    }
    if (!checkpoint_unpack(stored, run->stored,
                           whole ? host + first * page_bytes : part,
                           run->count * page_bytes)) {
        exitlog_fail("a checkpoint's memory does not unpack");
    }
    while (!whole && page < end) {
        memcpy(host + page * page_bytes, part + (page - first) * page_bytes,
               page_bytes);
        page = find_next_zero_bit(t->loaded, end, page + 1);
    }
    bitmap_set(t->loaded, first, run->count);
}

static void load_ram(GMappedFile *file)
{
    g_autofree unsigned *numbers = NULL; /* of targets, by the file's */
    CheckpointRamHead ram;
    Reader r;

    r = (Reader) { (uint8_t *)g_mapped_file_get_contents(file),
                   g_mapped_file_get_length(file) };
    memcpy(&ram, take(&r, sizeof(ram)), sizeof(ram));
    if (ram.magic != CHECKPOINT_RAM_MAGIC || ram.page_bytes != page_bytes ||
        ram.blocks > BLOCKS_MAX) {
        exitlog_fail("a checkpoint's memory is none that this build reads");
    }
    numbers = g_new(unsigned, ram.blocks);
    for (uint32_t i = 0; i < ram.blocks; i++) {
        CheckpointRamBlock b;

        memcpy(&b, take(&r, sizeof(b)), sizeof(b));
        b.name[sizeof(b.name) - 1] = 0;
        numbers[i] = target_of(&b) - (Target *)targets->data;
    }
    while (r.left > 0) {
        CheckpointRamRun run;
        Target *t;

        memcpy(&run, take(&r, sizeof(run)), sizeof(run)); /* not aligned */
        t = run.block < ram.blocks ?
            &g_array_index(targets, Target, numbers[run.block]) : NULL;
        if (!t || run.page >= t->pages || run.count > t->pages - run.page ||
            run.count * page_bytes > CHECKPOINT_PACK_BYTES) {
            exitlog_fail("a checkpoint's memory has a page that is none");
        }
        exitlog_is_alive();
        load_run(t, &run, take(&r, run.stored));
    }
}

/* What no checkpoint of the chain has is zero. */
static void zero_rest(const Target *t)
{
    unsigned long end, page = find_first_zero_bit(t->loaded, t->pages);

    for (; page < t->pages; page = find_next_zero_bit(t->loaded, t->pages, end)) {
        uint8_t *from = t->ram->host + page * page_bytes;

        end = find_next_bit(t->loaded, t->pages, page);
        if (!buffer_is_zero(from, (end - page) * page_bytes)) {
            memset(from, 0, (end - page) * page_bytes);
        }
    }
}

/*
 * The newest first: of a page that many of a chain have, the last content is all
 * that is wanted, and the others are passed over unread.
 */
static void load_memory(void)
{
    page_bytes = qemu_target_page_size();
    targets = g_array_new(false, false, sizeof(Target));
    for (unsigned n = chain->len; n > 0; n--) {
        load_ram(g_ptr_array_index(chain, n - 1));
    }
    for (unsigned no = 0; no < targets->len; no++) {
        Target *t = &g_array_index(targets, Target, no);

        zero_rest(t);
        g_free(t->loaded);
    }
    g_array_unref(targets);
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

void exitlog_checkpoint_start(void)
{
    if (likely(!chain)) {
        return;
    }
    load_memory();
    checkpoint_state_restore(&head, sections);
    g_clear_pointer(&chain, g_ptr_array_unref);
    exitlog_boot_seed_preset(NULL, 0);
    g_free(sections);
    exitlog_digest_begin();
    pass_over_records();
}
