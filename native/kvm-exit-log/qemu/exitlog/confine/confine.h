/*
 * Exit log: what this process gives up before the guest runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CONFINE_CONFINE_H
#define EXITLOG_CONFINE_CONFINE_H

/*
 * spec: "on", or "UID:GID" for a process that root has started; NULL: nothing is given up.
 * network: the guest has a user-mode network, whose sockets are made here.
 */
void exitlog_confine_configure(const char *spec, bool network);

#endif
