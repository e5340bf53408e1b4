/*
 * Exit log: the tap behind a NIC, read and written by the io thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_TAP_H
#define EXITLOG_EXITS_TAP_H

#include "exitlog/exits/net-queue.h"

void exitlog_tap_take(ExitlogNic *nic, const char *descriptor);
void exitlog_tap_set_offload(ExitlogNic *nic, int csum, int tso4, int tso6,
                             int ecn);
void exitlog_tap_read(ExitlogNic *nic);
void exitlog_tap_write(ExitlogNic *nic, const void *data, size_t len);
void exitlog_tap_hear_go_live(ExitlogNic *nic);

#endif
