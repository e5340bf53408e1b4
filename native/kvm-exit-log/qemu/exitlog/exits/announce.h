/*
 * Exit log: telling the network where a VM is now.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_ANNOUNCE_H
#define EXITLOG_EXITS_ANNOUNCE_H

#include "exitlog/exits/net-queue.h"

void exitlog_announce_begin(ExitlogNic *nic);
/* io thread.  When the next round is due; INT64_MAX: never. */
int64_t exitlog_announce(ExitlogNic *nic, int64_t now_ns);

#endif
