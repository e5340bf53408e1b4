/*
 * Exit log: network back ends net0, net1, ...
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_NET_H
#define EXITLOG_EXITS_NET_H

#include "exitlog/core/exits.h"

extern const ExitlogExit exitlog_net_exit;

/* spec: what the NIC is connected to; NULL: there is no such NIC. */
void exitlog_net_configure(int channel, const char *spec);

#endif
