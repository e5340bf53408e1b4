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
#include "exitlog/internal.h"
#include "exitlog/exits/net-internal.h"
#include "qemu/iov.h"
#include "hw/qdev-core.h"

ExitlogNic *exitlog_nics[EXITLOG_NICS_MAX];

/* Packets that the guest sent and that may not leave yet, oldest first. */
static GQueue held = G_QUEUE_INIT;
static uint64_t held_bytes;

QemuMutex exitlog_net_lock;

#define HELD_BYTES_MAX (64 * MiB)

static ExitlogPacket *packet_new(const void *data, size_t len)
{
    ExitlogPacket *p = g_malloc(sizeof(*p) + len);

    p->len = len;
    p->at_ns = get_clock();
    if (data) {
        memcpy(p->data, data, len);
    }
    return p;
}

/* With the header that packets have on our side of the device. */
static ExitlogPacket *packet_from_guest(ExitlogNic *nic,
                                        const struct iovec *iov, int iovcnt,
                                        size_t given)
{
    size_t head = exitlog_nic_vnet(nic) ? EXITLOG_DEVICE_VNET_BYTES : 0;
    size_t added = head ? EXITLOG_VNET_BYTES - head : 0;
    ExitlogPacket *p = packet_new(NULL, MAX(given, head) + added);

    p->nic = nic;
    memset(p->data, 0, head + added);
    iov_to_buf(iov, iovcnt, 0, p->data, head);
    if (given > head) {
        iov_to_buf(iov, iovcnt, head, p->data + head + added, given - head);
    }
    return p;
}

/* The guest sends.  vCPU thread, in a visit or an instruction. */
static ssize_t net_receive_iov(NetClientState *nc, const struct iovec *iov,
                               int iovcnt)
{
    ExitlogNic *nic = DO_UPCAST(ExitlogNic, nc, nc);
    size_t given = iov_size(iov, iovcnt);
    size_t len, head;
    const struct exitlog_record *r;
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
    if (xl.live) {
        p->ordinal = exitlog_emit(EXITLOG_NET_OUT, nic->channel, len,
                                  xl.out_chain, NULL);
    } else {
        while ((r = exitlog_peek_wait()) && r->kind == EXITLOG_CHAR_OUT) {
            if (!exitlog_console_match(r)) {
                exitlog_diverge(r, "the guest sends a packet before it printed "
                                "what the log has");
            }
        }
        if (!r || r->kind != EXITLOG_NET_OUT || r->len != len ||
            r->channel != nic->channel || r->arg != xl.out_chain ||
            (int64_t)r->icount != exitlog_position().icount) {
            exitlog_diverge(r, "the guest sends packet %" PRIu64 " of %zu "
                            "bytes on nic %u, output chain %016" PRIx64,
                            xl.out_count, len, nic->channel, xl.out_chain);
        }
        exitlog_consume();
        p->ordinal = 0;
    }
    qatomic_set(&xl.shm->outputs, xl.out_count);
    WITH_QEMU_LOCK_GUARD(&exitlog_net_lock) {
        g_queue_push_tail(&held, p);
        qatomic_set(&held_bytes, held_bytes + len);
    }
    if (exitlog_control(EXITLOG_CTL_DETACHED) || !xl.live) {
        exitlog_io_wake();
    }
    return given;
}

static ssize_t net_receive(NetClientState *nc, const uint8_t *buf, size_t len)
{
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };

    return net_receive_iov(nc, &iov, 1);
}

/* The next packet that may leave, or NULL.  Caller frees it.  io thread. */
ExitlogPacket *exitlog_net_next_release(void)
{
    ExitlogPacket *p;

    QEMU_LOCK_GUARD(&exitlog_net_lock);
    p = g_queue_peek_head(&held);
    if (!p) {
        return NULL;
    }
    if (!qatomic_read(&xl.live)) {
        if (p->number > qatomic_read(&xl.shm->outputs_sent)) {
            return NULL; /* kept: it is ours to send if we go live */
        }
        p->nic = NULL; /* the primary sent it */
    } else if (p->ordinal != UINT64_MAX &&
               !exitlog_control(EXITLOG_CTL_DETACHED) &&
               qatomic_load_acquire(&xl.shm->commit) <= p->ordinal) {
        return NULL;
    }
    g_queue_pop_head(&held);
    qatomic_set(&held_bytes, held_bytes - p->len);
    return p;
}

bool exitlog_net_held_full(void)
{
    return qatomic_read(&held_bytes) > HELD_BYTES_MAX;
}

bool exitlog_net_drained(void)
{
    QEMU_LOCK_GUARD(&exitlog_net_lock);
    return g_queue_is_empty(&held);
}

/* Packets queued for the guest, all NICs; also read without the lock. */
static unsigned rx_count;

static bool nic_ready(ExitlogNic *nic)
{
    return nic && !g_queue_is_empty(&nic->rx) && nic->nc.peer &&
        qemu_can_receive_packet(nic->nc.peer);
}

bool exitlog_net_pending(void)
{
    if (!qatomic_read(&rx_count)) {
        return false;
    }
    QEMU_LOCK_GUARD(&exitlog_net_lock);
    for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
        if (nic_ready(exitlog_nics[i])) {
            return true;
        }
    }
    return false;
}

/* Live: log and deliver one packet. */
bool exitlog_net_inject(void)
{
    static int turn;

    if (!qatomic_read(&rx_count)) {
        return false;
    }
    for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
        ExitlogNic *nic = exitlog_nics[(turn + i) % EXITLOG_NICS_MAX];
        ExitlogPacket *p = NULL;
        bool was_full = false;

        WITH_QEMU_LOCK_GUARD(&exitlog_net_lock) {
            if (nic_ready(nic)) {
                was_full = exitlog_nic_full(nic);
                p = g_queue_pop_head(&nic->rx);
                nic->rx_bytes -= p->len;
                qatomic_set(&rx_count, rx_count - 1);
            }
        }
        if (!p) {
            continue;
        }
        turn = nic->channel + 1;
        exitlog_emit(EXITLOG_NET_IN, nic->channel, p->len, 0, p->data);
        exitlog_nic_deliver(nic, p->data, p->len);
        g_free(p);
        if (was_full) {
            exitlog_io_wake();
        }
        return true;
    }
    return false;
}

/* Replay: the same packet, at the same position. */
void exitlog_net_apply(const struct exitlog_record *r)
{
    ExitlogNic *nic = r->channel < EXITLOG_NICS_MAX ? exitlog_nics[r->channel]
                                                    : NULL;
    g_autofree uint8_t *data = g_malloc(r->len);

    if (!nic || !nic->nc.peer || !qemu_can_receive_packet(nic->nc.peer)) {
        exitlog_diverge(r, "nic %u cannot take the packet that the log has "
                        "here", r->channel);
    }
    exitlog_payload(r, data);
    exitlog_nic_deliver(nic, data, r->len);
}

/* Queue a packet for the guest; any thread. */
void exitlog_net_enqueue(ExitlogNic *nic, const void *data, size_t len)
{
    ExitlogPacket *p = packet_new(data, len);

    WITH_QEMU_LOCK_GUARD(&exitlog_net_lock) {
        g_queue_push_tail(&nic->rx, p);
        nic->rx_bytes += len;
        qatomic_set(&rx_count, rx_count + 1);
    }
    exitlog_kick();
}

/* Going live: what was kept because the primary may not have sent it. */
void exitlog_net_go_live(void)
{
    WITH_QEMU_LOCK_GUARD(&exitlog_net_lock) {
        for (GList *l = held.head; l; l = l->next) {
            ExitlogPacket *p = l->data;
            p->ordinal = UINT64_MAX; /* acknowledged long ago */
        }
    }
    exitlog_io_wake();
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

    WITH_QEMU_LOCK_GUARD(&exitlog_net_lock) {
        if (exitlog_nic_full(nic)) {
            qatomic_inc(&xl.shm->net_in_dropped);
            return len;
        }
    }
    exitlog_net_enqueue(nic, buf, len);
    return len;
}

static NetClientInfo uplink_info = {
    .type = NET_CLIENT_DRIVER_SOCKET,
    .size = sizeof(NetClientState),
    .receive = uplink_receive,
};

void exitlog_net_create(int channel, const char *spec)
{
    g_autofree char *name = g_strdup_printf("net%d", channel);
    const char *ifname = NULL;
    NetClientState *nc;
    ExitlogNic *nic;

    if (!exitlog_net_lock.initialized) {
        qemu_mutex_init(&exitlog_net_lock);
    }
    nc = qemu_new_net_client(&nic_info, NULL, "exitlog", name);
    nc->is_netdev = true;
    nic = DO_UPCAST(ExitlogNic, nc, nc);
    nic->channel = channel;
    nic->fd = -1;
    nic->vnet = true;
    g_queue_init(&nic->rx);
    exitlog_nics[channel] = nic;
    exitlog_nic_register(nic);
    stations_register(&nic->stations, channel);
    if (strstart(spec, "tap:", &ifname)) {
        exitlog_tap_open(nic, ifname);
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
        exitlog_fail("net%d: '%s' is neither tap:NAME, user, none nor "
                     "none-user", channel, spec);
    }
}
