/*
 * Exit log: the tap behind a NIC, read and written by the io thread.
 *
 * While replaying, the tap is open but nothing of it reaches the guest (heard.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "net/eth.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/tap.h"
#include <sys/ioctl.h>
#include <linux/if_tun.h>

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

/* Flooded, but for somebody else? */
static bool is_for_guest(ExitlogNic *nic, const uint8_t *data, size_t len)
{
    size_t head = exitlog_nic_head_bytes(nic);
    const uint8_t *dst = data + head;
    const uint8_t *mac = qemu_get_nic(nic->nc.peer)->conf->macaddr.a;

    return len >= head + ETH_HLEN &&
        ((dst[0] & 1) || !memcmp(dst, mac, ETH_ALEN) ||
         stations_have(&nic->stations, dst));
}

void exitlog_tap_hear_go_live(ExitlogNic *nic)
{
    HeardPacket *p;

    while ((p = heard_next(&nic->heard))) {
        const uint8_t *src = p->data + exitlog_nic_head_bytes(nic) + ETH_ALEN;

        /* Its own broadcasts, by way of the switch, are not for the guest. */
        if (!stations_have(&nic->stations, src)) {
            exitlog_net_enqueue(nic, p->data, p->len);
        }
        g_free(p);
    }
}

void exitlog_tap_read(ExitlogNic *nic)
{
    static uint8_t buf[EXITLOG_PACKET_BYTES_MAX];
    size_t head = exitlog_nic_head_bytes(nic);

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
            if (!heard_from_log_before(&nic->heard, data, len, head) &&
                !exitlog_net_enqueue(nic, data, len)) {
                return;
            }
        } else if (nic->nc.peer && is_for_guest(nic, data, len)) {
            heard_from_tap(&nic->heard, data, len, head);
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
