/*
 * Exit log: what changes a disk waits for the backup.
 *
 * With epoch_hold_writes the disk of a live VM is never ahead of what its backup has: what
 * changes it waits in its bounce buffer, as the guest issued it, until the epoch in which that
 * was is committed.  The guest stands still meanwhile, so a visit looks again.
 *
 * What the guest waits for in an instruction goes at once: a device's reset, or a request that
 * is taken back.  So does what no state could keep meanwhile.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "hw/qdev-core.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/exits/block-commit.h"

static bool holds;

bool exitlog_blk_is_kept(BlockBackend *blk)
{
    static const char *const types[] = { "virtio-blk-device", "scsi-device" };
    DeviceState *device;

    if (!xl.shm->state_bytes) {
        return false;
    }
    device = blk_get_attached_dev(blk);
    for (size_t i = 0; device && i < ARRAY_SIZE(types); i++) {
        if (object_dynamic_cast(OBJECT(device), types[i])) {
            return true;
        }
    }
    return false;
}

bool exitlog_blk_waits_for_commit(uint64_t epoch)
{
    bool waits = exitlog_state_is_on() &&
        qatomic_read(&xl.shm->epoch_hold_writes) &&
        !exitlog_control(EXITLOG_CTL_DETACHED) &&
        !exitlog_state_is_committed(epoch);

    holds |= waits;
    return waits;
}

bool exitlog_blk_commit_look(void)
{
    bool held = holds;

    holds = false;
    return held;
}

bool exitlog_blk_commit_holds(void)
{
    return holds;
}
