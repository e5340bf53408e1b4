/*
 * Exit log: checkpoints, at an exact position.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CUT_CHECKPOINT_H
#define EXITLOG_CUT_CHECKPOINT_H

/*
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
 *   checkpoint-file.c   one of its files
 *   checkpoint-write.c  the helper thread: files, committed as a whole
 *   checkpoint-load.c   a replay that starts at a checkpoint
 */

void exitlog_checkpoint_configure(const char *dir, const char *request_dir,
                                  int64_t icount, int64_t ms,
                                  unsigned chain_max);
/*
 * The folders are used by descriptors from here on, so that nobody who may not reach them by
 * name needs to, and none of the same name later is taken for one.  Returns how many there are.
 */
size_t exitlog_checkpoint_hold_folders(int *fds, size_t most);
/*
 * Live, at a visit with a clean position.  Returns true if a disk's completion
 * was injected, or a checkpoint made: what follows must settle first.
 */
bool exitlog_checkpoint_visit(void);
/*
 * Replay, at a visit: pages are copied ahead of the record that is to come, so that
 * this side, too, stands still for few.
 */
void exitlog_checkpoint_ahead(void);
/* The log has ended: what is being written still becomes whole. */
void exitlog_checkpoint_finish(void);

#endif
