/*
 * Exit log: checkpoints, what their files share.
 *
 * A checkpoint is made in three steps, so that the guest stands still only for
 * the second: copy all pages written since the last one while the guest runs
 * on; at a visit copy again what it wrote meanwhile, and save the devices; write
 * all that to files while the guest runs on.
 *
 *   checkpoint.c        when, the record, the canonical form
 *   checkpoint-request.c  what the daemon asks for: one now, a mark of the disks
 *   checkpoint-state.c  CPUs, devices, and what no device has: save and load
 *   checkpoint-ram.c    pages, staged in memory of our own
 *   checkpoint-disk.c   which clusters of a disk were written
 *   checkpoint-disk-read.c  what the helper reads of them, and in which order
 *   checkpoint-pack.c   their content, compressed
 *   checkpoint-write.c  the helper thread: files, committed as a whole
 *   checkpoint-load.c   a replay that starts at a checkpoint
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CHECKPOINT_H
#define EXITLOG_CHECKPOINT_H

#include "exitlog/internal.h"

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

/* A file being written; after an error nothing more is. */
typedef struct CheckpointFile {
    int fd;
    uint32_t crc;
    uint64_t bytes;
    int error;               /* errno */
    uint8_t *buf;
    size_t used;
} CheckpointFile;

void checkpoint_put(CheckpointFile *f, const void *data, size_t len);

/* checkpoint.c */
void checkpoint_has_bytes(bool is_full, uint64_t bytes); /* helper */

/* checkpoint-request.c; all at a visit of a live VM. */
bool checkpoint_request_take(void);    /* true: one is to be begun, answer it */
void checkpoint_request_answer(void);  /* the one taken: written, or given up */
bool checkpoint_full_wanted(void);     /* of those that recur, now */
void checkpoint_full_begun(void);      /* its position is this one */

/* checkpoint-state.c */
uint64_t checkpoint_canonical(GByteArray *sections);
void checkpoint_state_take(CheckpointState *s, uint64_t ordinal,
                           uint64_t digest);
void checkpoint_state_restore(const CheckpointState *s, const uint8_t *sections);
const char *checkpoint_refusal(void);

/* checkpoint-ram.c */
size_t checkpoint_ram_collect(bool all); /* visit: which pages; how many */
void checkpoint_ram_copy(void);        /* helper: their content, as it is now */
void checkpoint_ram_cut(void);         /* visit: what was written since */
void checkpoint_ram_write(CheckpointFile *f, bool full); /* helper */
void checkpoint_ram_forget(void);      /* written, or given up */

/* checkpoint-disk.c */
/* Which clusters: those written since … */
typedef enum CheckpointDisks {
    CHECKPOINT_DISKS_POWER_ON,
    CHECKPOINT_DISKS_PARENT,
    CHECKPOINT_DISKS_MARK,
} CheckpointDisks;

void checkpoint_disk_mark(void);       /* visit */
void checkpoint_disk_cut(CheckpointDisks since); /* visit, none in flight */
int checkpoint_disk_count(void);
void checkpoint_disk_write(CheckpointFile *files); /* helper: of each disk */
void checkpoint_disk_done(void);       /* helper: guest writes need not wait */

/* checkpoint-pack.c */
/* Helper.  `stored` bytes, valid until the next call. */
const void *checkpoint_pack(const void *content, size_t len, uint32_t *stored);
/* vCPU.  False: they are not what makes `len` bytes. */
bool checkpoint_unpack(const void *bytes, size_t stored, void *content,
                       size_t len);

/* checkpoint-write.c: one task at a time. */
bool checkpoint_helper_start(const char *dir);
bool checkpoint_helper_busy(void);
void checkpoint_helper_copy(void);
void checkpoint_helper_write(Checkpoint *c); /* takes c */
bool checkpoint_helper_failed(void);   /* the last write; asking clears it */
void checkpoint_failed(void);          /* counts one that was given up */

#endif
