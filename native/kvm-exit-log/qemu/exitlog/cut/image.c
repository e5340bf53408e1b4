/*
 * Exit log: a QEMU that waits beside an image of another VM, and goes on from it.
 *
 * -exitlog mode=replay,…,image=FILE.  The machine is made as at power-on and stands at its
 * first visit, before an instruction, so that nothing has been translated and no TLB has an
 * entry.  Its main memory is a file that the daemon shares: the daemon writes there,
 * by whole epochs, while this process waits.
 *
 * When it is told to go live, FILE has the rest of the image as of the last whole epoch:
 * pieces, as in the ring of state (struct exitlog_piece), of every block but the shared one,
 * of the devices, packets that had not left, and the end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "system/system.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/clock-host.h"
#include "exitlog/core/hash.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint-state.h"
#include "exitlog/cut/image.h"
#include "exitlog/exits/entropy.h"
#include "exitlog/exits/net-queue.h"

#define BLOCKS_MAX 64

static int image = -1; /* none is waited for */

static RAMBlock *blocks[BLOCKS_MAX]; /* in the file's order */
static size_t block_count;
static CheckpointState head;
static const uint8_t *sections; /* within the file */

void exitlog_image_from(const char *file)
{
    static const uint8_t none[1];

    if (!file) {
        return;
    }
    if (xl.live) {
        exitlog_fail("image=%s: only for mode=replay", file);
    }
    /* Now: it is read when this process cannot open files any more. */
    image = open(file, O_RDONLY | O_CLOEXEC);
    if (image < 0) {
        exitlog_fail("image=%s: %s", file, strerror(errno));
    }
    if (!exitlog_exact()) {
        autostart = 0; /* no visit of a vCPU holds it up */
    }
    /* No guest sees what this machine would boot with. */
    exitlog_boot_seed_preset(none, sizeof(none));
}

bool exitlog_image_is_due(void)
{
    return image >= 0;
}

static RAMBlock *block_of(const struct exitlog_block *given)
{
    RAMBlock *ram = NULL;

    if (memchr(given->name, 0, sizeof(given->name))) {
        ram = qemu_ram_block_by_name(given->name);
    }
    if (!ram || given->bytes != ram->max_length || given->used > given->bytes) {
        exitlog_fail("this machine has no memory '%.*s' of %" PRIu64 " bytes",
                     (int)sizeof(given->name), given->name, given->bytes);
    }
    return ram;
}

/* All of a block is zero but what the file has; the shared one is as it is to be. */
static void take_blocks(const uint8_t *data, uint64_t bytes)
{
    block_count = bytes / sizeof(struct exitlog_block);
    if (bytes % sizeof(struct exitlog_block) || block_count > BLOCKS_MAX) {
        exitlog_fail("an image's list of memory blocks is none");
    }
    for (size_t i = 0; i < block_count; i++) {
        struct exitlog_block given;
        RAMBlock *ram;

        memcpy(&given, data + i * sizeof(given), sizeof(given));
        ram = blocks[i] = block_of(&given);
        if (given.used != ram->used_length) {
            memory_region_ram_resize(ram->mr, given.used, &error_fatal);
        }
        if (!qemu_ram_is_shared(ram)) {
            memset(ram->host, 0, ram->max_length);
        }
    }
}

static void take_memory(const struct exitlog_piece *piece, const uint8_t *data)
{
    uint64_t no = piece->part - EXITLOG_PART_RAM;
    RAMBlock *ram = no < block_count ? blocks[no] : NULL;

    if (!ram || qemu_ram_is_shared(ram) || piece->offset > ram->max_length ||
        piece->bytes > ram->max_length - piece->offset) {
        exitlog_fail("an image has memory that this machine has not");
    }
    memcpy(ram->host + piece->offset, data, piece->bytes);
}

static void take_devices(const uint8_t *data, uint64_t bytes)
{
    if (bytes >= sizeof(head)) {
        memcpy(&head, data, sizeof(head));
    }
    sections = data + sizeof(head);
    if (head.magic != CHECKPOINT_STATE_MAGIC ||
        head.sections_bytes != bytes - sizeof(head) ||
        head.digest != exitlog_hash(sections, head.sections_bytes, 0)) {
        exitlog_fail("an image's state of devices is none");
    }
}

/* Returns true at the end. */
static bool take_piece(const struct exitlog_piece *piece, const uint8_t *data)
{
    switch (piece->part) {
    case EXITLOG_PART_BLOCKS:
        take_blocks(data, piece->bytes);
        return false;
    case EXITLOG_PART_DEVICES:
        take_devices(data, piece->bytes);
        return false;
    case EXITLOG_PART_PACKETS:
        exitlog_net_load_held(data, piece->bytes);
        return false;
    case EXITLOG_PART_END:
        return true;
    default:
        take_memory(piece, data);
        return false;
    }
}

/* The log goes on where the epoch ended: the daemon has set IN so. */
static void check_log(void)
{
    if (xl.shm->in.tail != head.ordinal + 1 || exitlog_peek()) {
        exitlog_fail("the log goes on at record %" PRIu64 ", the image at %"
                     PRIu64, xl.shm->in.tail, head.ordinal + 1);
    }
}

static void load(const uint8_t *at, size_t left)
{
    struct exitlog_piece piece;
    uint64_t room;

    do {
        if (left < sizeof(piece)) {
            exitlog_fail("an image is cut short");
        }
        memcpy(&piece, at, sizeof(piece));
        at += sizeof(piece);
        left -= sizeof(piece);
        room = ROUND_UP(piece.bytes, 8);
        if (room < piece.bytes || room > left) {
            exitlog_fail("an image is cut short");
        }
        at += room;
        left -= room;
    } while (!take_piece(&piece, at - room));
    if (!sections || !block_count || head.ordinal != piece.offset) {
        exitlog_fail("an image is not whole");
    }
    check_log();
    checkpoint_state_restore(&head, sections);
}

static void take(void)
{
    g_autoptr(GError) error = NULL;
    GMappedFile *file = g_mapped_file_new_from_fd(image, false, &error);

    if (!file) {
        exitlog_fail("cannot open the image: %s", error->message);
    }
    load((const uint8_t *)g_mapped_file_get_contents(file),
         g_mapped_file_get_length(file));
    g_mapped_file_unref(file);
    close(image);
    image = -1;
    exitlog_boot_seed_preset(NULL, 0);
}

bool exitlog_image_take(void)
{
    static bool told;

    if (exitlog_control(EXITLOG_CTL_GO_LIVE)) {
        take();
        return true;
    }
    if (!told) {
        told = true;
        exitlog_run_until(exitlog_icount()); /* work for this thread moves nothing */
        exitlog_set_state(EXITLOG_STATE_WAITING);
    }
    exitlog_clock_heard(exitlog_in_horizon().vtime_ns);
    return false;
}
