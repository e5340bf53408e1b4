/*
 * Exit log: NICs, and the packets on their way in and out.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_NET_QUEUE_H
#define EXITLOG_EXITS_NET_QUEUE_H

#include "net/net.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "exitlog/exits/heard.h"
#include "exitlog/exits/stations.h"

#define EXITLOG_NICS_MAX 4

#define EXITLOG_VNET_BYTES 12 /* struct virtio_net_hdr_mrg_rxbuf */
#define EXITLOG_DEVICE_VNET_BYTES 10 /* struct virtio_net_hdr */
#define EXITLOG_PACKET_BYTES_MAX (EXITLOG_VNET_BYTES + 65536 + 64)

typedef struct ExitlogNic {
    NetClientState nc;
    int channel;
    int fd;                 /* the tap; -1: none */
    bool vnet;              /* packets begin with a virtio-net header */
    NetClientState *uplink; /* a user-mode network, or NULL */
    GQueue rx;              /* of ExitlogPacket, for the guest; net-queue.c has the lock */
    size_t rx_bytes;
    uint8_t *waiting;       /* a packet that the NIC has no room for */
    uint32_t waiting_bytes; /* 0: none */
    Heard heard;            /* replaying: what our tap heard lately */
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

ExitlogPacket *exitlog_packet_new(const void *data, size_t len);

/* Queue a packet for the guest; any thread.  False: its NIC takes no more for now. */
bool exitlog_net_enqueue(ExitlogNic *nic, const void *data, size_t len);
bool exitlog_net_takes_more(ExitlogNic *nic);
/* vCPU thread: is there one that its NIC can take? */
bool exitlog_net_waits(void);
/* The next one, or NULL.  *was_full: its NIC's queue was, so nobody reads more. */
ExitlogPacket *exitlog_net_take(bool *was_full);

/* The guest has sent it: held until it may leave. */
void exitlog_net_hold(ExitlogPacket *p);
/* The next packet that may leave, or NULL.  Caller frees it.  io thread. */
ExitlogPacket *exitlog_net_next_release(void);
/* What is held, as the part PACKETS of an epoch has it; and back. */
void exitlog_net_save_held(GByteArray *into);
void exitlog_net_load_held(const uint8_t *data, uint64_t bytes);
/* Going live: what was kept because the primary may not have sent it. */
void exitlog_net_release_kept(void);
bool exitlog_net_held_full(void);
bool exitlog_net_drained(void);

#endif
