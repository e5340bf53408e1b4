/*
 * Exit log: the helper thread that copies and writes checkpoints.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_WRITE_H
#define EXITLOG_CUT_CHECKPOINT_WRITE_H

#include "exitlog/cut/checkpoint-format.h"

/* What the helper writes: filled in at the visit. */
typedef struct Checkpoint {
    CheckpointState state;
    GByteArray *sections;
    bool full;
    int64_t parent;          /* icount; -1: none */
    uint64_t data_offset;    /* of the payload stream, at the record */
    int64_t pause_ns;        /* the guest stood still */
    int64_t devices_ns;      /* of that, for CPUs and devices */
} Checkpoint;

void checkpoint_helper_start(void);
/* *dir becomes a name of the open folder.  -1: there is none, and it stays as it is. */
int checkpoint_hold_folder(char **dir);
/* One task at a time. */
bool checkpoint_helper_use(const char *dir);
bool checkpoint_helper_busy(void);
void checkpoint_helper_copy(void);
void checkpoint_helper_write(Checkpoint *c); /* takes c */
bool checkpoint_helper_failed(void);   /* the last write; asking clears it */
uint64_t checkpoint_helper_bytes(void); /* of the last write */
void checkpoint_failed(void);          /* counts one that was given up */

#endif
