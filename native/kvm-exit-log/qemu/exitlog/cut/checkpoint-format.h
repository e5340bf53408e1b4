/*
 * Exit log: the files of a checkpoint.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_FORMAT_H
#define EXITLOG_CUT_CHECKPOINT_FORMAT_H

/* Layouts, little-endian, in files below DIR/ICOUNT/; read by this build only. */
#define CHECKPOINT_STATE_MAGIC 0x31545344554b4358ULL
#define CHECKPOINT_RAM_MAGIC   0x324d41524b435855ULL
#define CHECKPOINT_DISK_MAGIC  0x334b53444b435855ULL
#define CHECKPOINT_CLUSTER_BYTES 65536
#define CHECKPOINT_PACK_BYTES 1048576 /* of one run, before it is compressed */
#define CHECKPOINT_ZERO_BYTES 1073741824 /* at most, of a disk's run that is zero */

/* The head of the file "state"; the sections of QEMU's device state follow. */
typedef struct CheckpointState {
    uint64_t magic;
    int64_t icount;
    int64_t vtime_ns;
    uint64_t ordinal;        /* of the CHECKPOINT record */
    uint64_t digest;         /* its arg: hash of the sections */
    int64_t clock_base_icount;
    int64_t clock_base_ns;
    uint64_t clock_rate;
    int64_t clock_origin_ns;
    int64_t clock_reset_ns;
    uint64_t out_chain;
    uint64_t out_count;
    uint64_t blk_next_id;
    uint32_t boot_seed_len;
    uint32_t pad;
    uint8_t boot_seed[64];   /* entropy.c */
    uint64_t sections_bytes;
} CheckpointState;

/* In the file "ram", after RamHead: RamBlock × blocks, then runs to the end. */
typedef struct CheckpointRamHead {
    uint64_t magic;
    uint32_t page_bytes;
    uint32_t blocks;
} CheckpointRamHead;

typedef struct CheckpointRamBlock {
    char name[256];
    uint64_t used_bytes;
} CheckpointRamBlock;

/*
 * `count` pages from `page` on; `stored` bytes follow: none, they are zero; all
 * that they have; fewer, a frame of zstd.
 */
typedef struct CheckpointRamRun {
    uint32_t block;
    uint32_t stored;
    uint64_t page;
    uint64_t count;
} CheckpointRamRun;

/*
 * In the file "diskN", after the magic: runs in any order to the end, `stored` as
 * above.  One that is zero has at most CHECKPOINT_ZERO_BYTES, others a cluster.
 */
typedef struct CheckpointDiskRun {
    uint64_t offset;
    uint32_t bytes;
    uint32_t stored;
} CheckpointDiskRun;

#endif
