/*
 * Exit log: who speaks through a NIC, learned from what leaves it.
 *
 * A guest has more addresses than its NIC's: it may change its MAC address, be a
 * bridge, have macvlan devices, use VLANs.  All switches are to be told of them
 * when it goes on elsewhere (announce.c).  MAC addresses are learned with their
 * VLANs from each packet that the guest sends, IP addresses from what it says
 * in ARP and neighbour discovery: not from IP itself, since a router forwards
 * what others send.
 *
 * What another station uses later, as a packet into the guest shows, is
 * forgotten: an address that has moved away is not ours to claim.
 *
 * Both sides see the same packets, so they know the same; who starts at a
 * checkpoint gets it with the VM's state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/lockable.h"
#include "migration/vmstate.h"
#include "exitlog/exits/stations.h"

#define ARP_BYTES 28
#define IP6_BYTES 40
#define NEXT_HEADER_ICMP6 58

/* Guards the lists, which the io thread reads. */
static QemuMutex lock;

static void __attribute__((constructor)) init(void)
{
    qemu_mutex_init(&lock);
}

enum {
    ND_ROUTER_SOLICITATION = 133,
    ND_ROUTER_ADVERTISEMENT = 134,
    ND_NEIGHBOUR_SOLICITATION = 135,
    ND_NEIGHBOUR_ADVERTISEMENT = 136,
};

/* A packet's sender.  *at: where what the tags lead to begins, of type *type. */
static bool parse(const uint8_t *frame, size_t len, Station *s, size_t *at,
                  uint16_t *type)
{
    memset(s, 0, sizeof(*s));
    if (len < ETH_HLEN || (frame[ETH_ALEN] & 1)) {
        return false;
    }
    memcpy(s->mac, frame + ETH_ALEN, ETH_ALEN);
    *at = ETH_HLEN;
    *type = lduw_be_p(frame + 12);
    while ((*type == ETH_P_VLAN || *type == ETH_P_DVLAN) && len >= *at + 4 &&
           s->tag_count < STATION_TAGS_MAX) {
        s->tags[s->tag_count++] = (uint32_t)*type << 16 |
                                  (lduw_be_p(frame + *at) & 0xfff);
        *type = lduw_be_p(frame + *at + 2);
        *at += 4;
    }
    return true;
}

static bool same_vlan(const Station *a, const Station *b)
{
    return a->tags[0] == b->tags[0] && a->tags[1] == b->tags[1];
}

static bool same_sender(const Station *a, const Station *b)
{
    return !memcmp(a->mac, b->mac, ETH_ALEN) && same_vlan(a, b);
}

static bool same_address(const Station *a, const Station *b)
{
    return a->family == b->family && same_vlan(a, b) &&
        !memcmp(a->address, b->address, sizeof(a->address));
}

/* What the sender says of itself in ARP: a Station with family 4, or not. */
static void parse_arp(const uint8_t *arp, size_t len, Station *s)
{
    static const uint8_t ethernet_ipv4[] = { 0, 1, 8, 0, 6, 4 };
    const uint8_t *ip = arp + 14;

    if (len < ARP_BYTES || memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) ||
        memcmp(arp + 8, s->mac, ETH_ALEN) ||
        ip[0] == 0 || ip[0] == 127 || ip[0] >= 224) {
        return;
    }
    s->family = 4;
    memcpy(s->address, ip, 4);
}

/* The MAC address in an option, 1: the source's, 2: the target's; or NULL. */
static const uint8_t *nd_option(const uint8_t *nd, size_t len, size_t at,
                                uint8_t wanted)
{
    while (at + 8 <= len && nd[at + 1]) {
        if (nd[at] == wanted) {
            return nd + at + 2;
        }
        at += nd[at + 1] * 8;
    }
    return NULL;
}

/* The same for IPv6.  *knows_router: s->router is what it says. */
static void parse_nd(const uint8_t *ip, size_t len, Station *s,
                     bool *knows_router)
{
    static const uint8_t unspecified[16];
    const uint8_t *nd = ip + IP6_BYTES, *address = ip + 8, *mac;

    *knows_router = false;
    if (len < IP6_BYTES + 8 || ip[6] != NEXT_HEADER_ICMP6 || ip[7] != 255) {
        return;
    }
    len -= IP6_BYTES;
    switch (nd[0]) {
    case ND_ROUTER_SOLICITATION:
        mac = nd_option(nd, len, 8, 1);
        break;
    case ND_ROUTER_ADVERTISEMENT:
        mac = nd_option(nd, len, 16, 1);
        s->router = *knows_router = true;
        break;
    case ND_NEIGHBOUR_SOLICITATION:
        mac = nd_option(nd, len, 24, 1);
        break;
    case ND_NEIGHBOUR_ADVERTISEMENT:
        if (len < 24) {
            return;
        }
        mac = nd_option(nd, len, 24, 2);
        if (!mac && !memcmp(address, nd + 8, 16)) {
            mac = s->mac; /* an answer to one that knows it */
        }
        address = nd + 8;
        s->router = nd[4] >> 7;
        *knows_router = true;
        break;
    default:
        return;
    }
    if (mac && !memcmp(mac, s->mac, ETH_ALEN) && address[0] != 0xff &&
        memcmp(address, unspecified, 16)) {
        s->family = 6;
        memcpy(s->address, address, 16);
    }
}

/* The sender's address, if the packet is about it: `s` as parse() left it. */
static bool parse_address(const uint8_t *frame, size_t len, size_t at,
                          uint16_t type, Station *s, bool *knows_router)
{
    *knows_router = false;
    if (type == ETH_P_ARP) {
        parse_arp(frame + at, len - at, s);
    } else if (type == ETH_P_IPV6) {
        parse_nd(frame + at, len - at, s, knows_router);
    }
    return s->family;
}

static uint16_t *hint_of(Stations *s, const Station *sender)
{
    uint32_t hash = ldl_he_p(sender->mac + 2) ^ sender->tags[0] ^
                    sender->tags[1] * 31;

    hash *= 0x9e3779b1;
    return &s->hint[hash >> 26 & (STATION_HINTS - 1)];
}

static Station *find(Stations *s, const Station *wanted)
{
    uint16_t *hint = hint_of(s, wanted);

    if (*hint < s->count && !wanted->family && !s->list[*hint].family &&
        same_sender(&s->list[*hint], wanted)) {
        return &s->list[*hint];
    }
    for (uint32_t i = 0; i < s->count; i++) {
        if (same_address(&s->list[i], wanted) &&
            same_sender(&s->list[i], wanted)) {
            *hint = wanted->family ? *hint : i;
            return &s->list[i];
        }
    }
    return NULL;
}

static void drop(Stations *s, const Station *other, bool by_address)
{
    for (uint32_t i = s->count; i-- > 0;) {
        if (by_address ? same_address(&s->list[i], other)
                       : same_sender(&s->list[i], other)) {
            QEMU_LOCK_GUARD(&lock);
            s->list[i] = s->list[--s->count];
        }
    }
}

/* A new one takes the place of the one not heard for the longest time. */
static Station *place(Stations *s)
{
    Station *oldest = &s->list[0];

    if (s->count < STATIONS_MAX) {
        return &s->list[s->count++];
    }
    for (uint32_t i = 1; i < s->count; i++) {
        if (s->list[i].heard < oldest->heard) {
            oldest = &s->list[i];
        }
    }
    return oldest;
}

static void note(Stations *s, const Station *seen, bool knows_router,
                 uint64_t number)
{
    Station *known = find(s, seen);

    if (!known && seen->family) {
        drop(s, seen, true); /* the guest has moved it: it has one owner */
    }
    if (!known) {
        QEMU_LOCK_GUARD(&lock);
        known = place(s);
        *known = *seen;
        memset(&s->stranger, 0, sizeof(s->stranger));
    } else if (knows_router) {
        known->router = seen->router;
    }
    known->heard = number;
}

void stations_learn(Stations *s, const uint8_t *frame, size_t len,
                    uint64_t number)
{
    bool knows_router;
    Station sender;
    uint16_t type;
    size_t at;

    if (!parse(frame, len, &sender, &at, &type)) {
        return;
    }
    note(s, &sender, false, number);
    if (parse_address(frame, len, at, type, &sender, &knows_router)) {
        note(s, &sender, knows_router, number);
    }
}

void stations_forget(Stations *s, const uint8_t *frame, size_t len)
{
    bool knows_router;
    Station sender;
    uint16_t type;
    size_t at;

    if (!s->count || !parse(frame, len, &sender, &at, &type)) {
        return;
    }
    if (memcmp(&s->stranger, &sender, sizeof(sender))) {
        drop(s, &sender, false);
        s->stranger = sender;
    }
    if (parse_address(frame, len, at, type, &sender, &knows_router)) {
        drop(s, &sender, true);
    }
}

uint32_t stations_copy(const Stations *s, Station *into)
{
    QEMU_LOCK_GUARD(&lock);
    memcpy(into, s->list, s->count * sizeof(*into));
    return s->count;
}

bool stations_have(const Stations *s, const uint8_t *mac)
{
    QEMU_LOCK_GUARD(&lock);
    for (uint32_t i = 0; i < s->count; i++) {
        if (!memcmp(s->list[i].mac, mac, ETH_ALEN)) {
            return true;
        }
    }
    return false;
}

static bool stations_needed(void *opaque)
{
    return ((Stations *)opaque)->count > 0;
}

static int stations_pre_save(void *opaque)
{
    Stations *s = opaque;

    s->state_count = s->count;
    return 0;
}

/* The io thread looks at none of them while they become others. */
static int stations_pre_load(void *opaque)
{
    Stations *s = opaque;

    QEMU_LOCK_GUARD(&lock);
    s->count = 0;
    return 0;
}

/* Before the list: a foreign state's number is as many as are written into it. */
static bool stations_fit(void *opaque, int version_id)
{
    return ((Stations *)opaque)->state_count <= STATIONS_MAX;
}

static int stations_post_load(void *opaque, int version_id)
{
    Stations *s = opaque;

    memset(&s->stranger, 0, sizeof(s->stranger));
    QEMU_LOCK_GUARD(&lock);
    s->count = s->state_count;
    return 0;
}

static const VMStateDescription vmstate_station = {
    .name = "exitlog-station",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BUFFER(mac, Station),
        VMSTATE_UINT8(tag_count, Station),
        VMSTATE_UINT8(family, Station),
        VMSTATE_UINT32_ARRAY(tags, Station, STATION_TAGS_MAX),
        VMSTATE_BUFFER(address, Station),
        VMSTATE_UINT8(router, Station),
        VMSTATE_UINT64(heard, Station),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_stations = {
    .name = "exitlog-stations",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = stations_needed,
    .pre_save = stations_pre_save,
    .pre_load = stations_pre_load,
    .post_load = stations_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(state_count, Stations),
        VMSTATE_VALIDATE("no more stations than there is room for", stations_fit),
        VMSTATE_STRUCT_VARRAY_UINT32(list, Stations, state_count, 1, vmstate_station,
                                     Station),
        VMSTATE_END_OF_LIST()
    },
};

void stations_register(Stations *s, int channel)
{
    vmstate_register(NULL, channel, &vmstate_stations, s);
}
