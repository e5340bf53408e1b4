/*
 * Exit log: where in guest memory the data of a disk write lie (io-log.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_IO_LOG_H
#define EXITLOG_EXITS_IO_LOG_H

#include "qemu/iov.h"

/* What is written from now on is for exitlog_io_log_note(). */
bool exitlog_io_log_is_on(void);
/*
 * A write that is being issued: of data that lie in this list, and were copied from there; or
 * of zeros: NULL.
 */
void exitlog_io_log_note(int disk, int64_t offset, int64_t bytes,
                         const QEMUIOVector *list, const void *data);
/* The guest stands still: puts all that was noted since the last time. */
void exitlog_io_log_put(void);
/* An image is begun: what was noted is of none. */
void exitlog_io_log_drop(void);

#endif
