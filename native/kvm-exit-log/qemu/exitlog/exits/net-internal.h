/*
 * Exit log: shared by net*.c, tap.c and io-thread.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_NET_INTERNAL_H
#define EXITLOG_NET_INTERNAL_H

#include "net/net.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "exitlog/exits/stations.h"

#define EXITLOG_VNET_BYTES 12 /* struct virtio_net_hdr_mrg_rxbuf */
#define EXITLOG_DEVICE_VNET_BYTES 10 /* struct virtio_net_hdr */
#define EXITLOG_PACKET_BYTES_MAX (EXITLOG_VNET_BYTES + 65536 + 64)

typedef struct ExitlogNic {
    NetClientState nc;
    int channel;
    int fd;                 /* the tap; -1: none */
    bool vnet;              /* packets begin with a virtio-net header */
    NetClientState *uplink; /* a user-mode network, or NULL */
    GQueue rx;              /* of ExitlogPacket, for the guest */
    size_t rx_bytes;
    uint8_t *waiting;       /* a packet that the NIC has no room for */
    uint32_t waiting_bytes; /* 0: none */
    GQueue heard;           /* replaying: what our tap heard lately */
    Stations stations;      /* of the guest, that spoke through it */
    int announce_left;      /* rounds of announcements to go after going live */
    int64_t announce_at_ns;
} ExitlogNic;

typedef struct ExitlogPacket {
    ExitlogNic *nic;
    uint64_t ordinal; /* of its NET_OUT record in OUT */
    uint64_t number;  /* NET_OUT packets since power-on, from 1 */
    int64_t at_ns;
    uint32_t len;
    uint8_t data[];
} ExitlogPacket;

extern ExitlogNic *exitlog_nics[EXITLOG_NICS_MAX];
extern QemuMutex exitlog_net_lock;

/* A NIC without virtio-net headers: they end and begin at the tap. */
static inline bool exitlog_nic_plain(ExitlogNic *nic)
{
    return nic->nc.peer && !strstart(nic->nc.peer->model, "virtio-net", NULL);
}

/* A NIC that takes packets with a virtio-net header, and gives them so. */
static inline bool exitlog_nic_vnet(ExitlogNic *nic)
{
    return nic->vnet && !exitlog_nic_plain(nic);
}

/* What stands before the frame, in the log and in our queues. */
static inline size_t exitlog_nic_head_bytes(ExitlogNic *nic)
{
    return exitlog_nic_vnet(nic) ? EXITLOG_VNET_BYTES : 0;
}

/* A full queue is not read into: the tap's own queue fills, then drops. */
static inline bool exitlog_nic_full(ExitlogNic *nic)
{
    return nic->rx.length >= 1024 || nic->rx_bytes >= 4 * MiB;
}

void exitlog_net_enqueue(ExitlogNic *nic, const void *data, size_t len);
ExitlogPacket *exitlog_net_next_release(void);

/* net-deliver.c */
void exitlog_nic_register(ExitlogNic *nic);
void exitlog_nic_deliver(ExitlogNic *nic, uint8_t *data, size_t len);

/* tap.c */
void exitlog_tap_open(ExitlogNic *nic, const char *ifname);
void exitlog_tap_set_offload(ExitlogNic *nic, int csum, int tso4, int tso6,
                             int ecn);
void exitlog_tap_read(ExitlogNic *nic);
void exitlog_tap_write(ExitlogNic *nic, const void *data, size_t len);
void exitlog_tap_hear_go_live(ExitlogNic *nic);

/* announce.c */
void exitlog_announce_begin(ExitlogNic *nic);
int64_t exitlog_announce(ExitlogNic *nic, int64_t now_ns);

#endif
