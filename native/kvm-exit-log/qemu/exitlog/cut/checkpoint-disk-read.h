/*
 * Exit log: what the helper reads of the disks for a checkpoint.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_DISK_READ_H
#define EXITLOG_CUT_CHECKPOINT_DISK_READ_H

#include "exitlog/cut/checkpoint-file.h"

/* From here on it is known what is written to the disks, and what is read waited for. */
void checkpoint_disk_watch(void);
void checkpoint_disk_write(CheckpointFile *files); /* helper: of each disk */

#endif
