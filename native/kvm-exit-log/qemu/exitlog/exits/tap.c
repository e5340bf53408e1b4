/*
 * Exit log: the tap behind a NIC, read and written by the io thread.
 *
 * While replaying, the tap is open but nothing of it reaches the guest.  What
 * it hears is kept for a moment: after the primary's death its switch port is
 * gone, frames for the VM flood to ours, and injecting them after going live
 * saves the client a retransmission timer.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "net/eth.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/tap.h"
#include <sys/ioctl.h>
#include <linux/if_tun.h>

#define HEARD_NS_MAX (1000 * (int64_t)SCALE_MS)
#define HEARD_PACKETS_MAX 512
#define READS_PER_WAKE 64

/* The daemon has opened it (addon/ring/tap.cc): this process needs no right to. */
void exitlog_tap_take(ExitlogNic *nic, const char *descriptor)
{
    int hdr = EXITLOG_VNET_BYTES;

    if (qemu_strtoi(descriptor, NULL, 10, &nic->fd) < 0 ||
        ioctl(nic->fd, TUNSETVNETHDRSZ, &hdr) < 0) {
        exitlog_fail("descriptor %s is no tap with vnet_hdr: %s", descriptor, strerror(errno));
    }
    exitlog_tap_set_offload(nic, 0, 0, 0, 0);
}

void exitlog_tap_set_offload(ExitlogNic *nic, int csum, int tso4, int tso6,
                             int ecn)
{
    unsigned offload = 0;

    if (csum) {
        offload = TUN_F_CSUM | (tso4 ? TUN_F_TSO4 : 0) |
            (tso6 ? TUN_F_TSO6 : 0) |
            (ecn && (tso4 || tso6) ? TUN_F_TSO_ECN : 0);
    }
    if (nic->fd >= 0 && ioctl(nic->fd, TUNSETOFFLOAD, offload) < 0) {
        warn_report("exitlog: TUNSETOFFLOAD: %s", strerror(errno));
    }
}

static void hear(ExitlogNic *nic, const uint8_t *data, size_t len)
{
    size_t header = exitlog_nic_plain(nic) ? 0 : EXITLOG_VNET_BYTES;
    const uint8_t *dst = data + header;
    const uint8_t *mac = qemu_get_nic(nic->nc.peer)->conf->macaddr.a;
    ExitlogPacket *p;

    if (len < header + ETH_HLEN ||
        (!(dst[0] & 1) && memcmp(dst, mac, ETH_ALEN) &&
         !stations_have(&nic->stations, dst))) {
        return; /* flooded, but for somebody else */
    }
    p = g_malloc(sizeof(*p) + len);
    p->len = len;
    p->at_ns = get_clock();
    memcpy(p->data, data, len);
    g_queue_push_tail(&nic->heard, p);
    while (nic->heard.length > HEARD_PACKETS_MAX ||
           p->at_ns - ((ExitlogPacket *)g_queue_peek_head(&nic->heard))->at_ns
           > HEARD_NS_MAX) {
        g_free(g_queue_pop_head(&nic->heard));
    }
}

void exitlog_tap_hear_go_live(ExitlogNic *nic)
{
    size_t header = exitlog_nic_plain(nic) ? 0 : EXITLOG_VNET_BYTES;
    int64_t now = get_clock();
    ExitlogPacket *p;

    while ((p = g_queue_pop_head(&nic->heard))) {
        const uint8_t *src = p->data + header + ETH_ALEN;

        /* Its own broadcasts, by way of the switch, are not for the guest. */
        if (now - p->at_ns <= HEARD_NS_MAX &&
            !stations_have(&nic->stations, src)) {
            exitlog_net_enqueue(nic, p->data, p->len);
        }
        g_free(p);
    }
}

void exitlog_tap_read(ExitlogNic *nic)
{
    static uint8_t buf[EXITLOG_PACKET_BYTES_MAX];

    for (int i = 0; i < READS_PER_WAKE; i++) {
        ssize_t len = read(nic->fd, buf, sizeof(buf));
        uint8_t *data = buf;

        if (len <= 0) {
            return;
        }
        if (exitlog_nic_plain(nic)) {
            /* No offload was offered, so the header says nothing. */
            data += EXITLOG_VNET_BYTES;
            len -= EXITLOG_VNET_BYTES;
        }
        if (qatomic_read(&xl.live)) {
            if (!exitlog_net_enqueue(nic, data, len)) {
                return;
            }
        } else if (nic->nc.peer) {
            hear(nic, data, len);
        }
    }
}

void exitlog_tap_write(ExitlogNic *nic, const void *data, size_t len)
{
    static const uint8_t no_offload[EXITLOG_VNET_BYTES];
    struct iovec iov[] = {
        { (void *)no_offload, exitlog_nic_plain(nic) ? sizeof(no_offload) : 0 },
        { (void *)data, len },
    };
    ssize_t n;

    if (nic->uplink) {
        BQL_LOCK_GUARD();
        qemu_send_packet(nic->uplink, data, len);
        return;
    }
    if (nic->fd < 0) {
        return;
    }
    do {
        n = writev(nic->fd, iov, ARRAY_SIZE(iov));
    } while (n < 0 && errno == EINTR);
    /* EIO: the interface is down, like a cable that is out. */
}
