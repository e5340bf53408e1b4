/*
 * Offsets and ordinals of exitlog_abi.h as this compiler has them, as JSON.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>
#include <stdio.h>

#include "exitlog_abi.h"

#define OFFSET(type, field) printf("\"" #type "." #field "\":%zu,", offsetof(struct type, field))
#define ORDINAL(name) printf("\"" #name "\":%d,", EXITLOG_##name)
#define SIZE(type) printf("\"sizeof." #type "\":%zu,", sizeof(struct type))
#define KIND(name, ordinal, payload) ORDINAL(name);
#define EVENT(name, ordinal) ORDINAL(EVENT_##name);

int main(void)
{
    printf("{");
    OFFSET(exitlog_record, icount);
    OFFSET(exitlog_record, vtime_ns);
    OFFSET(exitlog_record, kind);
    OFFSET(exitlog_record, channel);
    OFFSET(exitlog_record, len);
    OFFSET(exitlog_record, arg);
    OFFSET(exitlog_digest, cpu);
    OFFSET(exitlog_digest, ram);
    OFFSET(exitlog_digest, devices);
    OFFSET(exitlog_digest, outputs);
    OFFSET(exitlog_digest, outputs_count);
    OFFSET(exitlog_shm, out);
    OFFSET(exitlog_shm, in);
    OFFSET(exitlog_shm, horizon_seq);
    OFFSET(exitlog_shm, icount);
    OFFSET(exitlog_shm, outputs_released);
    OFFSET(exitlog_shm, checkpoint_failures);
    OFFSET(exitlog_shm, disk_marks_done);
    OFFSET(exitlog_shm, checkpoints_answered);
    OFFSET(exitlog_shm, checkpoint_icount);
    OFFSET(exitlog_shm, full_checkpoints_begun);
    OFFSET(exitlog_shm, out_held);
    OFFSET(exitlog_shm, control);
    OFFSET(exitlog_shm, commit);
    OFFSET(exitlog_shm, outputs_sent);
    OFFSET(exitlog_shm, daemon_sleeping);
    OFFSET(exitlog_shm, disk_marks_wanted);
    OFFSET(exitlog_shm, checkpoints_wanted);
    OFFSET(exitlog_shm, full_checkpoints_wanted);
    OFFSET(exitlog_shm, epoch_ns);
    OFFSET(exitlog_shm, epoch_starts_wanted);
    OFFSET(exitlog_shm, epoch_events);
    OFFSET(exitlog_shm, epoch_references);
    OFFSET(exitlog_shm, epoch_io_log);
    OFFSET(exitlog_shm, epoch_pages_max);
    OFFSET(exitlog_shm, error);
    OFFSET(exitlog_shm, epoch_state);
    OFFSET(exitlog_shm, events);
    OFFSET(exitlog_shm, event_cuts);
    EXITLOG_KINDS(KIND)
    EXITLOG_EVENTS(EVENT)
    ORDINAL(EVENT_COUNT);
    ORDINAL(PART_REFERENCES);
    ORDINAL(REFERENCE_BEFORE);
    ORDINAL(END_POWEROFF);
    ORDINAL(END_STOP);
    ORDINAL(CHECKPOINT_REPLAY);
    ORDINAL(CHECKPOINT_EPOCH);
    ORDINAL(CTL_GO_LIVE);
    ORDINAL(CTL_DETACHED);
    ORDINAL(CTL_STOP);
    ORDINAL(STATE_INIT);
    ORDINAL(STATE_RECORDING);
    ORDINAL(STATE_REPLAYING);
    ORDINAL(STATE_ENDED);
    ORDINAL(STATE_DIVERGED);
    ORDINAL(STATE_FAILED);
    ORDINAL(STATE_WAITING);
    SIZE(exitlog_reference);
    SIZE(exitlog_record);
    printf("\"sizeof.exitlog_digest\":%zu}\n", sizeof(struct exitlog_digest));
    return 0;
}
