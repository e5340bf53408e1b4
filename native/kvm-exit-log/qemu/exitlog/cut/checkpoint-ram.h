/*
 * Exit log: guest memory in a checkpoint.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_RAM_H
#define EXITLOG_CUT_CHECKPOINT_RAM_H

#include "exitlog/cut/checkpoint-file.h"

size_t checkpoint_ram_collect(bool all); /* visit: which pages; how many */
void checkpoint_ram_copy(void);        /* helper: their content, as it is now */
void checkpoint_ram_cut(void);         /* visit: what was written since */
void checkpoint_ram_write(CheckpointFile *f, bool full); /* helper */
void checkpoint_ram_forget(void);      /* written, or given up */

#endif
