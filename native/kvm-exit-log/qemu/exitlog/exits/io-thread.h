/*
 * Exit log: the io thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_IO_THREAD_H
#define EXITLOG_EXITS_IO_THREAD_H

void exitlog_io_start(void);

#endif
