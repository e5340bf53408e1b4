/*
 * Exit log: the state of CPUs and devices in a checkpoint.
 *
 * Devices go through QEMU's migration state, the same sections that a digest is
 * made of.  What is no device's is in CheckpointState.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "exec/memory.h"
#include "io/channel-buffer.h"
#include "migration/qemu-file.h"
#include "migration/exitlog-savevm.h"
#include "migration/savevm.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/clock-host.h"
#include "exitlog/core/hash.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint-state.h"
#include "exitlog/exits/block-request.h"
#include "exitlog/exits/clock.h"
#include "exitlog/exits/entropy.h"
#include "exitlog/verify/digest.h"

static GByteArray *gathered;
static bool loading_own; /* the state that the VM has already */

/*
 * cpu-system.c: translated code stays when a VM loads its own state, because
 * its memory does.  It is no state that the guest can see.
 */
bool exitlog_keeps_code(void)
{
    return loading_own;
}

static void gather(const char *id, uint32_t instance, const uint8_t *bytes,
                   size_t len)
{
    g_byte_array_append(gathered, bytes, len);
}

static void load_sections(const uint8_t *bytes, size_t len)
{
    QIOChannelBuffer *buffer = qio_channel_buffer_new(len + 1);
    QEMUFile *f;

    memcpy(buffer->data, bytes, len);
    buffer->data[len] = QEMU_VM_EOF;
    buffer->usage = len + 1;
    f = qemu_file_new_input(QIO_CHANNEL(buffer));
    if (qemu_load_device_state(f) < 0) {
        exitlog_fail("the device state of a checkpoint does not load");
    }
    qemu_fclose(f);
    object_unref(OBJECT(buffer));
}

void checkpoint_sections(GByteArray *into)
{
    gathered = into;
    exitlog_each_section(gather);
}

/*
 * Brings the running VM to the form of one that was loaded from `sections`,
 * which it fills.  Returns their hash.
 */
uint64_t checkpoint_canonical(GByteArray *sections)
{
    checkpoint_sections(sections);
    loading_own = true;
    memory_region_transaction_begin(); /* nothing moves: one look is enough */
    load_sections(sections->data, sections->len);
    memory_region_transaction_commit();
    loading_own = false;
    exitlog_tlb_forget();
    exitlog_deliveries_forget();
    return exitlog_hash(sections->data, sections->len, 0);
}

void checkpoint_state_take(CheckpointState *s, uint64_t ordinal,
                           uint64_t digest)
{
    Position p = exitlog_position();
    ExitlogRate rate = exitlog_rate();

    s->magic = CHECKPOINT_STATE_MAGIC;
    s->icount = p.icount;
    s->vtime_ns = p.vtime_ns;
    s->ordinal = ordinal;
    s->digest = digest;
    s->clock_base_icount = rate.base_icount;
    s->clock_base_ns = rate.base_ns;
    s->clock_rate = rate.rate;
    s->clock_origin_ns = exitlog_origin_ns();
    s->clock_reset_ns = exitlog_clock_reset_ns();
    s->out_chain = xl.out_chain;
    s->out_count = xl.out_count;
    s->blk_next_id = exitlog_blk_next_id();
    s->boot_seed_len = exitlog_boot_seed(s->boot_seed, sizeof(s->boot_seed));
}

/* Devices that keep something beside their saved state; docs/recording.md. */
const char *checkpoint_refusal(void)
{
    static const struct {
        const char *type, *why;
    } refused[] = {
        { "VGA", "VGA: its VBE sequencer registers are in no saved state" },
        { "e1000", "e1000: its queue's flush timer is in no saved state" },
        { "ide-hd", "IDE and AHCI: what they note of a request for a retry is "
                    "not loaded; virtio-blk and virtio-scsi are exact" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        if (object_resolve_path_type("", refused[i].type, NULL)) {
            return refused[i].why;
        }
    }
    return NULL;
}

/* The clock first: devices ask for the time while they are loaded. */
void checkpoint_state_restore(const CheckpointState *s, const uint8_t *sections)
{
    if (exitlog_exact()) { /* else it is in a section */
        exitlog_icount_set(s->icount);
        exitlog_rate_set((ExitlogRate) {
            .base_icount = s->clock_base_icount,
            .base_ns = s->clock_base_ns,
            .rate = s->clock_rate,
        });
        exitlog_warp_to(s->vtime_ns);
    }
    exitlog_origin_set(s->clock_origin_ns);
    exitlog_clock_reset_set(s->clock_reset_ns);
    xl.out_chain = s->out_chain;
    xl.out_count = s->out_count;
    qatomic_set(&xl.shm->outputs, s->out_count);
    /* Not ours to send: the side that runs through here did, or will. */
    qatomic_set(&xl.shm->outputs_released, s->out_count);
    exitlog_blk_set_next_id(s->blk_next_id);
    load_sections(sections, s->sections_bytes);
    if (exitlog_exact()) {
        exitlog_tlb_forget();
    }
}
