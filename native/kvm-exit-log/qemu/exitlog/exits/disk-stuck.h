/*
 * Exit log: a disk that does not answer.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_DISK_STUCK_H
#define EXITLOG_EXITS_DISK_STUCK_H

/* How long a request may take; 0: for ever. */
void exitlog_disk_stuck_configure(int64_t ms);

#endif
