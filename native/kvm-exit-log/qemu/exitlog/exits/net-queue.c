/*
 * Exit log: packets on their way in and out.
 *
 * In: any thread queues them, a visit takes them when their NIC has room.  Out: the
 * guest has sent them, and they are held until the log up to their record is
 * acknowledged, or, replaying, until the primary is known to have sent them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/net-queue.h"

#define HELD_BYTES_MAX (64 * MiB)

ExitlogNic *exitlog_nics[EXITLOG_NICS_MAX];

static QemuMutex lock;

/* Packets that the guest sent and that may not leave yet, oldest first. */
static GQueue held = G_QUEUE_INIT;
static uint64_t held_bytes;
/* Packets queued for the guest, all NICs; also read without the lock. */
static unsigned rx_count;

static void __attribute__((constructor)) init(void)
{
    qemu_mutex_init(&lock);
}

/* A full queue is not read into: the tap's own queue fills, then drops. */
static bool nic_full(const ExitlogNic *nic)
{
    return nic->rx.length >= 1024 || nic->rx_bytes >= 4 * MiB;
}

ExitlogPacket *exitlog_packet_new(const void *data, size_t len)
{
    ExitlogPacket *p = g_malloc(sizeof(*p) + len);

    p->len = len;
    p->at_ns = get_clock();
    if (data) {
        memcpy(p->data, data, len);
    }
    return p;
}

bool exitlog_net_enqueue(ExitlogNic *nic, const void *data, size_t len)
{
    ExitlogPacket *p = exitlog_packet_new(data, len);
    bool full;

    WITH_QEMU_LOCK_GUARD(&lock) {
        g_queue_push_tail(&nic->rx, p);
        nic->rx_bytes += len;
        qatomic_set(&rx_count, rx_count + 1);
        full = nic_full(nic);
    }
    exitlog_kick();
    return !full;
}

bool exitlog_net_takes_more(ExitlogNic *nic)
{
    QEMU_LOCK_GUARD(&lock);
    return !nic_full(nic);
}

static bool nic_ready(ExitlogNic *nic)
{
    return nic && !g_queue_is_empty(&nic->rx) && nic->nc.peer &&
        qemu_can_receive_packet(nic->nc.peer);
}

bool exitlog_net_waits(void)
{
    if (!qatomic_read(&rx_count)) {
        return false;
    }
    QEMU_LOCK_GUARD(&lock);
    for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
        if (nic_ready(exitlog_nics[i])) {
            return true;
        }
    }
    return false;
}

ExitlogPacket *exitlog_net_take(bool *was_full)
{
    static int turn;

    if (!qatomic_read(&rx_count)) {
        return NULL;
    }
    QEMU_LOCK_GUARD(&lock);
    for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
        ExitlogNic *nic = exitlog_nics[(turn + i) % EXITLOG_NICS_MAX];

        if (nic_ready(nic)) {
            ExitlogPacket *p;

            *was_full = nic_full(nic);
            p = g_queue_pop_head(&nic->rx);
            p->nic = nic;
            nic->rx_bytes -= p->len;
            qatomic_set(&rx_count, rx_count - 1);
            turn = nic->channel + 1;
            return p;
        }
    }
    return NULL;
}

void exitlog_net_hold(ExitlogPacket *p)
{
    QEMU_LOCK_GUARD(&lock);
    g_queue_push_tail(&held, p);
    qatomic_set(&held_bytes, held_bytes + p->len);
}

ExitlogPacket *exitlog_net_next_release(void)
{
    ExitlogPacket *p;

    QEMU_LOCK_GUARD(&lock);
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

void exitlog_net_save_held(GByteArray *into)
{
    static const uint8_t zeros[8];

    QEMU_LOCK_GUARD(&lock);
    for (GList *l = held.head; l; l = l->next) {
        const ExitlogPacket *p = l->data;
        struct exitlog_packet head = { .bytes = p->len, .number = p->number };

        if (into->len + sizeof(head) + ROUND_UP(p->len, 8) >
            EXITLOG_PACKETS_BYTES_MAX) {
            return; /* whoever waits for it will ask again */
        }
        if (!p->nic) {
            continue;
        }
        head.nic = p->nic->channel;
        g_byte_array_append(into, (uint8_t *)&head, sizeof(head));
        g_byte_array_append(into, p->data, p->len);
        g_byte_array_append(into, zeros, ROUND_UP(p->len, 8) - p->len);
    }
}

void exitlog_net_load_held(const uint8_t *data, uint64_t bytes)
{
    while (bytes > 0) {
        struct exitlog_packet head;
        ExitlogPacket *p;
        uint64_t len;

        if (bytes < sizeof(head)) {
            exitlog_fail("an image's packets are cut short");
        }
        memcpy(&head, data, sizeof(head));
        len = sizeof(head) + ROUND_UP((uint64_t)head.bytes, 8);
        if (len > bytes || head.bytes > EXITLOG_PACKET_BYTES_MAX ||
            head.nic >= EXITLOG_NICS_MAX || !exitlog_nics[head.nic]) {
            exitlog_fail("an image has a packet that no NIC here can send");
        }
        p = exitlog_packet_new(data + sizeof(head), head.bytes);
        p->nic = exitlog_nics[head.nic];
        p->number = head.number;
        p->ordinal = 0;
        exitlog_net_hold(p);
        data += len;
        bytes -= len;
    }
}

void exitlog_net_release_kept(void)
{
    WITH_QEMU_LOCK_GUARD(&lock) {
        for (GList *l = held.head; l; l = l->next) {
            ExitlogPacket *p = l->data;
            p->ordinal = UINT64_MAX; /* acknowledged long ago */
        }
    }
    exitlog_io_wake();
}

bool exitlog_net_held_full(void)
{
    return qatomic_read(&held_bytes) > HELD_BYTES_MAX;
}

bool exitlog_net_drained(void)
{
    QEMU_LOCK_GUARD(&lock);
    return g_queue_is_empty(&held);
}
