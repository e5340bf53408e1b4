/*
 * Exit log: disks in a checkpoint.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_DISK_H
#define EXITLOG_CUT_CHECKPOINT_DISK_H

/* A bit for each cluster. */
typedef struct CheckpointDisk {
    int fd;                  /* of the image, to read */
    int64_t bytes;
    int64_t clusters;
    unsigned long *ever;     /* written since power-on */
    unsigned long *since;    /* since the last one that recurs: its chain's */
    unsigned long *marked;   /* since the last mark; none yet: since power-on */
    unsigned long *taken;    /* to be read by the helper, which clears them */
} CheckpointDisk;

/* Which clusters: those written since … */
typedef enum CheckpointDisks {
    CHECKPOINT_DISKS_POWER_ON,
    CHECKPOINT_DISKS_PARENT,
    CHECKPOINT_DISKS_MARK,
} CheckpointDisks;

/* Once; drives are there. */
void checkpoint_disk_open(void);
/* A request that changes data goes to the disk.  BQL. */
void checkpoint_disk_writes(int disk, int64_t offset, int64_t bytes);
/* Whether the helper has still to read any of these: clusters first to first + n. */
bool checkpoint_disk_is_taken(int disk, int64_t offset, int64_t bytes,
                              long *first, long *n);

void checkpoint_disk_mark(void);       /* visit */
void checkpoint_disk_cut(CheckpointDisks since); /* visit, none in flight */
int checkpoint_disk_count(void);
const CheckpointDisk *checkpoint_disk(int disk);
/* Helper: a request that waited for clusters need not any more. */
void checkpoint_disk_released(void);
void checkpoint_disk_done(void);       /* helper: guest writes need not wait */

#endif
