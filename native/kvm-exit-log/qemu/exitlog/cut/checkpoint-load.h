/*
 * Exit log: a replay that starts at a checkpoint.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_LOAD_H
#define EXITLOG_CUT_CHECKPOINT_LOAD_H

/* file: names the folders of a chain; NULL: start at power-on. */
void exitlog_checkpoint_from(const char *file);
/* At a visit: the first one loads. */
void exitlog_checkpoint_start(void);

#endif
