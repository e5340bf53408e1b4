/*
 * Exit log: who speaks through a NIC.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_STATIONS_H
#define EXITLOG_STATIONS_H

#include "net/eth.h"

/* Stations of a NIC; then the one that has been silent the longest goes. */
#define STATIONS_MAX 256
#define STATION_TAGS_MAX 2 /* IEEE 802.1ad: a tag within a tag */
#define STATION_HINTS 64   /* a power of two */

/* A MAC address in a VLAN; with `family`, an address that it has there. */
typedef struct Station {
    uint8_t mac[ETH_ALEN];
    uint8_t tag_count;
    uint8_t family;         /* 0, 4 or 6 */
    uint32_t tags[STATION_TAGS_MAX]; /* TPID << 16 | VLAN, the outer one first */
    uint8_t address[16];    /* IPv4: the first four */
    uint8_t router;         /* IPv6: it says that it is one */
    uint64_t heard;         /* number of the packet that said so last */
} Station;

typedef struct Stations {
    uint32_t count;
    uint32_t state_count;   /* while the VM's state is saved or loaded */
    Station list[STATIONS_MAX];
    /* No state, only where to look first: places in the list, by hash … */
    uint16_t hint[STATION_HINTS];
    /* … and the last packet's sender who is none of them, while that holds. */
    Station stranger;
} Stations;

void stations_register(Stations *s, int channel);
/* vCPU thread: what the guest sends, and what it is given. */
void stations_learn(Stations *s, const uint8_t *frame, size_t len,
                    uint64_t number);
void stations_forget(Stations *s, const uint8_t *frame, size_t len);
/* Any thread. */
uint32_t stations_copy(const Stations *s, Station *into);
bool stations_have(const Stations *s, const uint8_t *mac);

#endif
