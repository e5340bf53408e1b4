/*
 * Exit log: telling the network where a VM is now, after it has gone live.
 *
 * Switches send frames for the VM to where they last heard it.  So each address
 * that spoke through a NIC (stations.c) speaks once more, in its VLAN: RARP
 * (RFC 903) for the switches, gratuitous ARP and unsolicited neighbour
 * advertisements for neighbours and for networks that learn from those.  Some
 * rounds of it, with growing pauses: frames can be lost.  These frames leave the
 * tap and are no output of the guest: they are in no log.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "exitlog/exits/announce.h"
#include "exitlog/exits/tap.h"

#define FRAME_BYTES_MAX 128
#define FRAME_BYTES_MIN 60 /* without the checksum */
#define RARP_TYPE 0x8035

/* Milliseconds before each round, as QEMU announces itself after a migration. */
static const int pause_ms[] = { 0, 50, 150, 250, 350 };

typedef struct Frame {
    uint8_t vnet[EXITLOG_VNET_BYTES];
    uint8_t data[FRAME_BYTES_MAX];
    size_t len;
} Frame;

static void put(Frame *f, const void *bytes, size_t len)
{
    memcpy(f->data + f->len, bytes, len);
    f->len += len;
}

static void put_u16(Frame *f, uint16_t value)
{
    stw_be_p(f->data + f->len, value);
    f->len += 2;
}

/* From that station, with its tags. */
static void begin(Frame *f, const uint8_t *to, const Station *from,
                  uint16_t type)
{
    memset(f, 0, sizeof(*f));
    put(f, to, ETH_ALEN);
    put(f, from->mac, ETH_ALEN);
    for (int i = 0; i < from->tag_count; i++) {
        put_u16(f, from->tags[i] >> 16);
        put_u16(f, from->tags[i]);
    }
    put_u16(f, type);
}

static void send_frame(ExitlogNic *nic, Frame *f)
{
    size_t len = MAX(f->len, FRAME_BYTES_MIN);

    if (exitlog_nic_plain(nic)) {
        exitlog_tap_write(nic, f->data, len);
    } else {
        exitlog_tap_write(nic, f->vnet, sizeof(f->vnet) + len);
    }
}

static const uint8_t everybody[ETH_ALEN] = { 255, 255, 255, 255, 255, 255 };
static const uint8_t nobody[ETH_ALEN];

/* `ip`: four bytes, the sender's and the target's. */
static void send_arp(ExitlogNic *nic, const Station *s, uint16_t type,
                     uint16_t operation, const uint8_t *target,
                     const uint8_t *ip)
{
    static const uint8_t ethernet_ipv4[] = { 0, 1, 8, 0, 6, 4 };
    Frame f;

    begin(&f, everybody, s, type);
    put(&f, ethernet_ipv4, sizeof(ethernet_ipv4));
    put_u16(&f, operation);
    put(&f, s->mac, ETH_ALEN);
    put(&f, ip, 4);
    put(&f, target, ETH_ALEN);
    put(&f, ip, 4);
    send_frame(nic, &f);
}

static uint16_t icmp6_checksum(const uint8_t *ip, size_t payload)
{
    uint32_t sum = payload + 58;

    for (size_t i = 0; i < 32 + payload; i += 2) { /* both addresses, then it */
        sum += lduw_be_p(ip + 8 + i);
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum;
}

static void send_na(ExitlogNic *nic, const Station *s, bool router)
{
    static const uint8_t all_nodes_mac[] = { 0x33, 0x33, 0, 0, 0, 1 };
    static const uint8_t all_nodes[16] = { 0xff, 2, [15] = 1 };
    const uint8_t na[8] = { 136, 0, 0, 0, (router ? 0x80 : 0) | 0x20 };
    static const uint8_t option[] = { 2, 1 }; /* the target's MAC address */
    uint8_t *ip;
    Frame f;

    begin(&f, all_nodes_mac, s, ETH_P_IPV6);
    ip = f.data + f.len;
    put(&f, (uint8_t[]) { 0x60, 0, 0, 0, 0, 32, 58, 255 }, 8);
    put(&f, s->address, 16);
    put(&f, all_nodes, 16);
    put(&f, na, sizeof(na));
    put(&f, s->address, 16);
    put(&f, option, sizeof(option));
    put(&f, s->mac, ETH_ALEN);
    stw_be_p(ip + 42, icmp6_checksum(ip, 32));
    send_frame(nic, &f);
}

static bool is_router(const Station *list, uint32_t count, const Station *s)
{
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].router && list[i].tags[0] == s->tags[0] &&
            list[i].tags[1] == s->tags[1] &&
            !memcmp(list[i].mac, s->mac, ETH_ALEN)) {
            return true;
        }
    }
    return false;
}

static void announce_all(ExitlogNic *nic)
{
    static Station list[STATIONS_MAX]; /* the io thread's */
    static const uint8_t no_ip[4];
    uint32_t count = stations_copy(&nic->stations, list);
    Station own = { 0 };

    /* Also of a guest that has said nothing yet. */
    memcpy(own.mac, qemu_get_nic(nic->nc.peer)->conf->macaddr.a, ETH_ALEN);
    send_arp(nic, &own, RARP_TYPE, 3, own.mac, no_ip);
    for (uint32_t i = 0; i < count; i++) {
        const Station *s = &list[i];

        switch (s->family) {
        case 0:
            if (s->tag_count || memcmp(s->mac, own.mac, ETH_ALEN)) {
                send_arp(nic, s, RARP_TYPE, 3, s->mac, no_ip);
            }
            break;
        case 4:
            send_arp(nic, s, ETH_P_ARP, 1, nobody, s->address);
            break;
        case 6:
            send_na(nic, s, is_router(list, count, s));
            break;
        }
    }
}

void exitlog_announce_begin(ExitlogNic *nic)
{
    nic->announce_left = ARRAY_SIZE(pause_ms);
    nic->announce_at_ns = 0;
}

int64_t exitlog_announce(ExitlogNic *nic, int64_t now_ns)
{
    if (!nic->announce_left || nic->fd < 0 || !nic->nc.peer) {
        return INT64_MAX;
    }
    if (now_ns < nic->announce_at_ns) {
        return nic->announce_at_ns;
    }
    announce_all(nic);
    nic->announce_left--;
    if (!nic->announce_left) {
        return INT64_MAX;
    }
    nic->announce_at_ns = now_ns + (int64_t)SCALE_MS *
        pause_ms[ARRAY_SIZE(pause_ms) - nic->announce_left];
    return nic->announce_at_ns;
}
