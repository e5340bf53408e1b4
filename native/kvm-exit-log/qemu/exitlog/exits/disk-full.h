/*
 * Exit log: a write for which the host has no room.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_DISK_FULL_H
#define EXITLOG_EXITS_DISK_FULL_H

#include "exitlog/exits/block-request.h"

void exitlog_disk_full_configure(const char *policy);
/* A request has come back.  True: nobody is to hear of it yet.  Main loop, BQL. */
bool exitlog_disk_full_hold(const Request *r);
/* The log ends. */
void exitlog_disk_full_end(void);

#endif
