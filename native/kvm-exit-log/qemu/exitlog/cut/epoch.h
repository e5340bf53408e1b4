/*
 * Exit log: epochs of a live VM, for a protocol by checkpoint.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_EPOCH_H
#define EXITLOG_CUT_EPOCH_H

/* A live visit at a clean position; true: something was injected. */
bool exitlog_epoch_visit(void);
/*
 * The log is about to end, at a clean position: what the guest did since the last cut counts,
 * too, its writes to a disk above all.  True: something was injected, and it is to be asked
 * again.
 */
bool exitlog_epoch_last(void);
/* Too many epochs are not committed: the guest stands still. */
bool exitlog_epoch_must_wait(void);
/*
 * Awake, the guest has executed nothing since the last cut.  Where a timer ends an epoch, its
 * time must not go on before: with a backup that is slow it would do nothing else.
 */
bool exitlog_epoch_stands(void);
/* Until the next cut is due; INT64_MAX: none will be. */
int64_t exitlog_epoch_left_ns(void);

#endif
