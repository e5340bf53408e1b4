/*
 * Exit log: a packet on its way into a NIC.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_NET_DELIVER_H
#define EXITLOG_EXITS_NET_DELIVER_H

#include "exitlog/exits/net-queue.h"

void exitlog_nic_register(ExitlogNic *nic);
/* vCPU thread, at a visit; the NIC is not waiting.  Writes to data. */
void exitlog_nic_deliver(ExitlogNic *nic, uint8_t *data, size_t len);

#endif
