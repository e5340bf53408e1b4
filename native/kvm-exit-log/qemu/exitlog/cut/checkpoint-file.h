/*
 * Exit log: a file of a checkpoint that is being written.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_FILE_H
#define EXITLOG_CUT_CHECKPOINT_FILE_H

#include "exitlog/cut/checkpoint-format.h"

/* A file being written; after an error nothing more is. */
typedef struct CheckpointFile {
    int fd;
    uint32_t crc;
    uint64_t bytes;
    int error;               /* errno */
    uint8_t *buf;
    size_t used;
} CheckpointFile;

CheckpointFile checkpoint_file_open(const char *dir, const char *name);
void checkpoint_put(CheckpointFile *f, const void *data, size_t len);
/* Returns 0 or an errno; adds the file to the manifest's list. */
int checkpoint_file_close(CheckpointFile *f, const char *name, GString *files,
                          uint64_t *total);

#endif
