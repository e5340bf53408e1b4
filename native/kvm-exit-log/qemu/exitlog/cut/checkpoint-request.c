/*
 * Exit log: what the daemon asks a live VM for, by counters in shared memory.
 *
 * A mark of the disks, then a checkpoint: with a copy of the images begun in
 * between, these are all that another machine needs to replay from here on, while
 * this one has run all the time (checkpoint-disk.c).  A VM that replays answers
 * when it has gone live.
 *
 * Or that the next of those that recur is due now, and full: a chain ends early when
 * what is kept would else take too much space (src/retain/space.ts).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/state.h"
#include "exitlog/cut/checkpoint-disk.h"
#include "exitlog/cut/checkpoint-request.h"
#include "exitlog/cut/checkpoint-state.h"
#include "exitlog/cut/checkpoint-write.h"

static uint64_t taken; /* of checkpoints_wanted */
static bool possible;  /* there is a folder for them */

void checkpoint_request_configure(bool has_folder)
{
    possible = has_folder;
}

bool checkpoint_request_wanted(void)
{
    return qatomic_load_acquire(&xl.shm->checkpoints_wanted) != taken;
}

bool checkpoint_request_take(void)
{
    const char *refusal;

    if (likely(!checkpoint_request_wanted())) {
        return false;
    }
    taken = qatomic_load_acquire(&xl.shm->checkpoints_wanted);
    refusal = possible ? checkpoint_refusal() :
        "there is no folder for it";
    if (refusal) {
        warn_report("exitlog: checkpoint refused at icount %" PRId64 ": %s",
                    exitlog_icount(), refusal);
        checkpoint_failed();
        checkpoint_request_answer();
    }
    return !refusal;
}

void checkpoint_request_answer(void)
{
    qatomic_store_release(&xl.shm->checkpoints_answered, taken);
}

bool checkpoint_full_wanted(void)
{
    return qatomic_read(&xl.shm->full_checkpoints_wanted) !=
        xl.shm->full_checkpoints_begun;
}

void checkpoint_full_begun(void)
{
    qatomic_set(&xl.shm->full_checkpoints_begun,
                qatomic_read(&xl.shm->full_checkpoints_wanted));
}

void checkpoint_request_marks(void)
{
    uint64_t wanted = qatomic_load_acquire(&xl.shm->disk_marks_wanted);

    if (wanted != xl.shm->disk_marks_done && possible) {
        checkpoint_disk_mark();
        qatomic_store_release(&xl.shm->disk_marks_done, wanted);
    }
}
