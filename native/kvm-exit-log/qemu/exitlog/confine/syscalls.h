/*
 * Exit log: the system calls that this process gives up.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CONFINE_SYSCALLS_H
#define EXITLOG_CONFINE_SYSCALLS_H

/*
 * For all threads, for good.  folders: it writes files by name; network: it makes sockets for
 * a user-mode network.
 */
void confine_syscalls(bool folders, bool network);

#endif
