/*
 * Exit log: disk requests in flight as a part of the state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_BLOCK_SAVED_H
#define EXITLOG_EXITS_BLOCK_SAVED_H

#include "exitlog/exitlog.h" /* exitlog_blk_saves(), exitlog_blk_each_saved() */

/* The state of devices that is saved from now on has their requests in flight, or has not. */
void exitlog_blk_save(bool saves);
/* One is in flight that no state would have. */
bool exitlog_blk_unsaved(void);

#endif
