/*
 * Exit log: the state of CPUs and devices in a checkpoint.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_STATE_H
#define EXITLOG_CUT_CHECKPOINT_STATE_H

#include "exitlog/cut/checkpoint-format.h"

/* What the VM's devices have, added to `into`; the VM stays as it is. */
void checkpoint_sections(GByteArray *into);
uint64_t checkpoint_canonical(GByteArray *sections);
void checkpoint_state_take(CheckpointState *s, uint64_t ordinal,
                           uint64_t digest);
void checkpoint_state_restore(const CheckpointState *s, const uint8_t *sections);
/* Why this VM can have none; NULL: it can. */
const char *checkpoint_refusal(void);

#endif
