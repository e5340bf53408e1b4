/*
 * Exit log: network back ends net0, net1, ...
 *
 * In: the io thread queues packets; a visit logs and delivers them when the
 * NIC can take them.  Out: a packet is hashed, logged, and held until the log
 * up to its record is acknowledged; to the device it is always sent at once,
 * so that no host condition reaches the guest.
 *
 * What the guest can see of the back end (offloads) is fixed here and not
 * asked of the host's kernel: two hosts must look the same.
 *
 * A packet in the log, in our queues and at the tap begins with a header of
 * EXITLOG_VNET_BYTES, whatever driver the guest has.  To virtio-net it is always
 * EXITLOG_DEVICE_VNET_BYTES long, so that a packet that waits is understood
 * also after a driver with another header has taken over; the device itself
 * adds the number of buffers for those drivers that have it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/iov.h"
#include "net/eth.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/hash.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/console.h"
#include "exitlog/exits/io-thread.h"
#include "exitlog/exits/net.h"
#include "exitlog/exits/net-deliver.h"
#include "exitlog/exits/net-queue.h"
#include "exitlog/exits/tap.h"

/* What each NIC is connected to; NULL: there is none. */
static char *specs[EXITLOG_NICS_MAX];

/* With the header that packets have on our side of the device. */
static ExitlogPacket *packet_from_guest(ExitlogNic *nic,
                                        const struct iovec *iov, int iovcnt,
                                        size_t given)
{
    size_t head = exitlog_nic_vnet(nic) ? EXITLOG_DEVICE_VNET_BYTES : 0;
    size_t added = head ? EXITLOG_VNET_BYTES - head : 0;
    ExitlogPacket *p = exitlog_packet_new(NULL, MAX(given, head) + added);

    p->nic = nic;
    memset(p->data, 0, head + added);
    iov_to_buf(iov, iovcnt, 0, p->data, head);
    if (given > head) {
        iov_to_buf(iov, iovcnt, head, p->data + head + added, given - head);
    }
    return p;
}

/* Replay: the log has this packet here.  False: the log has ended before it. */
static bool is_logged(const ExitlogNic *nic, const ExitlogPacket *p)
{
    const struct exitlog_record *r;
    int64_t icount = exitlog_position().icount;

    while ((r = exitlog_peek_wait()) && r->kind == EXITLOG_CHAR_OUT) {
        if (!exitlog_console_match(r)) {
            exitlog_diverge(r, "the guest sends a packet before it printed "
                            "what the log has");
        }
    }
    if (!r && icount >= exitlog_in_covers(exitlog_in_horizon()).icount) {
        return false;
    }
    if (!r || r->kind != EXITLOG_NET_OUT || r->len != p->len ||
        r->channel != nic->channel || r->arg != xl.out_chain ||
        (int64_t)r->icount != icount) {
        exitlog_diverge(r, "the guest sends packet %" PRIu64 " of %u "
                        "bytes on nic %u, output chain %016" PRIx64,
                        xl.out_count, p->len, nic->channel, xl.out_chain);
    }
    exitlog_consume();
    return true;
}

/* The guest sends.  vCPU thread, in a visit or an instruction. */
static ssize_t net_receive_iov(NetClientState *nc, const struct iovec *iov,
                               int iovcnt)
{
    ExitlogNic *nic = DO_UPCAST(ExitlogNic, nc, nc);
    size_t given = iov_size(iov, iovcnt);
    size_t len, head;
    uint64_t ordinal;
    ExitlogPacket *p;

    if (xl.ended) {
        return given;
    }
    p = packet_from_guest(nic, iov, iovcnt, given);
    len = p->len;
    xl.out_chain = exitlog_hash(p->data, len, xl.out_chain);
    p->number = ++xl.out_count;
    head = exitlog_nic_head_bytes(nic);
    stations_learn(&nic->stations, p->data + head, len - head, p->number);
    if (xl.live || !is_logged(nic, p)) {
        p->ordinal = exitlog_emit(EXITLOG_NET_OUT, nic->channel, len,
                                  xl.out_chain, NULL);
    } else {
        p->ordinal = 0;
    }
    ordinal = p->ordinal;
    qatomic_set(&xl.shm->outputs, xl.out_count);
    exitlog_net_hold(p); /* the io thread's from here on */
    /* The commit of its record may have come before it was held: nobody would look again. */
    smp_mb();
    if (exitlog_control(EXITLOG_CTL_DETACHED) || !xl.live ||
        qatomic_read(&xl.shm->commit) > ordinal) {
        exitlog_io_wake();
    }
    return given;
}

static ssize_t net_receive(NetClientState *nc, const uint8_t *buf, size_t len)
{
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };

    return net_receive_iov(nc, &iov, 1);
}

/* Live: log and deliver one packet. */
static bool inject(void)
{
    bool was_full;
    ExitlogPacket *p = exitlog_net_take(&was_full);

    if (!p) {
        return false;
    }
    exitlog_emit(EXITLOG_NET_IN, p->nic->channel, p->len, 0, p->data);
    exitlog_nic_deliver(p->nic, p->data, p->len);
    g_free(p);
    if (was_full) {
        exitlog_io_wake();
    }
    return true;
}

/* Replay: the same packet, at the same position. */
static void net_apply(const struct exitlog_record *r)
{
    ExitlogNic *nic = r->channel < EXITLOG_NICS_MAX ? exitlog_nics[r->channel]
                                                    : NULL;
    g_autofree uint8_t *data = NULL;

    /* A log may be anybody's; a device reads a header and a frame's head unasked. */
    if (nic && (r->len < exitlog_nic_head_bytes(nic) + ETH_HLEN ||
                r->len > EXITLOG_PACKET_BYTES_MAX)) {
        exitlog_diverge(r, "a packet for nic %u has %u bytes", r->channel, r->len);
    }
    data = g_malloc(r->len);
    if (!nic || !nic->nc.peer || !qemu_can_receive_packet(nic->nc.peer)) {
        exitlog_diverge(r, "nic %u cannot take the packet that the log has "
                        "here", r->channel);
    }
    exitlog_payload(r, data);
    heard_from_log(&nic->heard, data, r->len, exitlog_nic_head_bytes(nic));
    exitlog_nic_deliver(nic, data, r->len);
}

static bool yes(NetClientState *nc)
{
    return DO_UPCAST(ExitlogNic, nc, nc)->vnet;
}

static bool no(NetClientState *nc)
{
    return false;
}

static bool has_vnet_hdr_len(NetClientState *nc, int len)
{
    return yes(nc) && len == EXITLOG_DEVICE_VNET_BYTES;
}

static void set_vnet_hdr_len(NetClientState *nc, int len)
{
    assert(len == EXITLOG_DEVICE_VNET_BYTES); /* no other is had */
}

static int set_vnet_endian(NetClientState *nc, bool is_le)
{
    return 0;
}

static void set_offload(NetClientState *nc, int csum, int tso4, int tso6,
                        int ecn, int ufo, int uso4, int uso6)
{
    exitlog_tap_set_offload(DO_UPCAST(ExitlogNic, nc, nc), csum, tso4, tso6,
                            ecn);
}

static NetClientInfo nic_info = {
    .type = NET_CLIENT_DRIVER_SOCKET, /* any without special cases in net/ */
    .size = sizeof(ExitlogNic),
    .receive = net_receive,
    .receive_iov = net_receive_iov,
    .has_ufo = no,
    .has_uso = no,
    .has_vnet_hdr = yes,
    .has_vnet_hdr_len = has_vnet_hdr_len,
    .set_offload = set_offload,
    .set_vnet_hdr_len = set_vnet_hdr_len,
    .set_vnet_le = set_vnet_endian,
    .set_vnet_be = set_vnet_endian,
};

/* A user-mode network: its packets for the guest arrive here. */
static ssize_t uplink_receive(NetClientState *nc, const uint8_t *buf,
                              size_t len)
{
    int channel = nc->queue_index;
    ExitlogNic *nic = exitlog_nics[channel];

    if (exitlog_net_takes_more(nic)) {
        exitlog_net_enqueue(nic, buf, len);
    } else {
        qatomic_inc(&xl.shm->net_in_dropped);
    }
    return len;
}

static NetClientInfo uplink_info = {
    .type = NET_CLIENT_DRIVER_SOCKET,
    .size = sizeof(NetClientState),
    .receive = uplink_receive,
};

void exitlog_net_configure(int channel, const char *spec)
{
    specs[channel] = g_strdup(spec);
}

static void create_nic(int channel, const char *spec)
{
    g_autofree char *name = g_strdup_printf("net%d", channel);
    const char *fd = NULL;
    NetClientState *nc;
    ExitlogNic *nic;

    nc = qemu_new_net_client(&nic_info, NULL, "exitlog", name);
    nc->is_netdev = true;
    nic = DO_UPCAST(ExitlogNic, nc, nc);
    nic->channel = channel;
    nic->fd = -1;
    nic->vnet = true;
    g_queue_init(&nic->rx);
    heard_init(&nic->heard);
    exitlog_nics[channel] = nic;
    exitlog_nic_register(nic);
    stations_register(&nic->stations, channel);
    if (strstart(spec, "tap:", &fd)) {
        exitlog_tap_take(nic, fd);
    } else if (!strcmp(spec, "user")) {
        g_autofree char *user = g_strdup_printf("user%d", channel);
        NetClientState *peer = qemu_find_netdev(user);

        nic->vnet = false;
        if (!peer) {
            exitlog_fail("net%d=user needs -netdev user,id=%s", channel, user);
        }
        nic->uplink = qemu_new_net_client(&uplink_info, peer, "exitlog-uplink",
                                          "uplink");
        nic->uplink->queue_index = channel;
    } else if (!strcmp(spec, "none-user")) {
        nic->vnet = false;
    } else if (strcmp(spec, "none")) {
        exitlog_fail("net%d: '%s' is neither tap:FD, user, none nor "
                     "none-user", channel, spec);
    }
}

static void create(void)
{
    for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
        if (specs[i]) {
            create_nic(i, specs[i]);
        }
    }
}

static const ExitlogRecordKind records[] = {
    { .kind = EXITLOG_NET_IN, .name = "netIn", .apply = net_apply },
    { .kind = EXITLOG_NET_OUT, .name = "netOut" },
    { /* end of list */ }
};

const ExitlogExit exitlog_net_exit = {
    .records = records,
    .create = create,
    .start = exitlog_io_start,
    .pending = exitlog_net_waits,
    .inject = inject,
    .is_full = exitlog_net_held_full,
    .has_drained = exitlog_net_drained,
    .go_live = exitlog_net_release_kept,
};
