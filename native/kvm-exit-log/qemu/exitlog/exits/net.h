/*
 * Exit log: network back ends net0, net1, ...
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_NET_H
#define EXITLOG_EXITS_NET_H

/* spec: what the NIC is connected to; NULL: there is no such NIC. */
void exitlog_net_configure(int channel, const char *spec);

#endif
