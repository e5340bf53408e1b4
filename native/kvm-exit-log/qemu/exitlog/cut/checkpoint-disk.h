/*
 * Exit log: disks in a checkpoint, what its two files share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CHECKPOINT_DISK_H
#define EXITLOG_CHECKPOINT_DISK_H

#include "exitlog/cut/checkpoint.h"

/* A bit for each cluster. */
typedef struct CheckpointDisk {
    char *image;
    int64_t bytes;
    int64_t clusters;
    unsigned long *ever;     /* written since power-on */
    unsigned long *since;    /* since the last one that recurs: its chain's */
    unsigned long *marked;   /* since the last mark; none yet: since power-on */
    unsigned long *taken;    /* to be read by the helper, which clears them */
} CheckpointDisk;

/* checkpoint-disk.c */
const CheckpointDisk *checkpoint_disk(int disk);
void checkpoint_disk_released(void);

/* checkpoint-disk-read.c; BQL */
void checkpoint_disk_want(int disk, long first, long n);

#endif
