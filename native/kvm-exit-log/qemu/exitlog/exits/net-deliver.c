/*
 * Exit log: a packet on its way into a NIC.
 *
 * A NIC that is up but has no room (a driver that is down, or behind; with
 * mergeable buffers also one with too few of them) leaves the packet with QEMU,
 * which tries it again when the guest has made room.  Both sides do that at the
 * same instruction, so it needs no record.  No device's saved state has the
 * packet, and it may wait as long as the guest likes: here is a copy, which is
 * a section of the VM's state.  There is one at most: while it waits the NIC
 * takes no other (receive_disabled), and those stay in ExitlogNic.rx, which is
 * the live side's alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/vmstate.h"
#include "net/queue.h"
#include "exitlog/core/kick.h"
#include "exitlog/exits/net-deliver.h"

/* Taken, or thrown away with the queue. */
static void packet_gone(NetClientState *nc, ssize_t ret)
{
    ExitlogNic *nic = DO_UPCAST(ExitlogNic, nc, nc);

    g_clear_pointer(&nic->waiting, g_free);
    nic->waiting_bytes = 0;
    exitlog_kick(); /* the rest of ExitlogNic.rx may follow */
}

void exitlog_nic_deliver(ExitlogNic *nic, uint8_t *data, size_t len)
{
    size_t head = exitlog_nic_head_bytes(nic);

    if (len < head) {
        return; /* no frame: nothing that a tap gives */
    }
    stations_forget(&nic->stations, data + head, len - head);
    if (head) {
        size_t cut = EXITLOG_VNET_BYTES - EXITLOG_DEVICE_VNET_BYTES;

        memmove(data + cut, data, EXITLOG_DEVICE_VNET_BYTES);
        data += cut;
        len -= cut;
    }
    if (qemu_send_packet_async(&nic->nc, data, len, packet_gone) == 0) {
        nic->waiting = g_memdup2(data, len);
        nic->waiting_bytes = len;
    }
}

static bool waiting_needed(void *opaque)
{
    return ((ExitlogNic *)opaque)->waiting_bytes > 0;
}

static int waiting_pre_load(void *opaque)
{
    ExitlogNic *nic = opaque;

    g_clear_pointer(&nic->waiting, g_free);
    return 0;
}

/* Into the NIC's queue, unless the VM loads its own state and has it there. */
static int waiting_post_load(void *opaque, int version_id)
{
    ExitlogNic *nic = opaque;
    NetClientState *peer = nic->nc.peer;
    struct iovec iov = {
        .iov_base = nic->waiting, .iov_len = nic->waiting_bytes,
    };

    if (!peer || iov.iov_len > EXITLOG_PACKET_BYTES_MAX) {
        return -EINVAL;
    }
    if (qemu_net_queue_empty(peer->incoming_queue)) {
        qemu_net_queue_append_iov(peer->incoming_queue, &nic->nc, 0, &iov, 1,
                                  packet_gone);
    }
    peer->receive_disabled = 1;
    return 0;
}

static const VMStateDescription vmstate_waiting = {
    .name = "exitlog-nic-waiting",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = waiting_needed,
    .pre_load = waiting_pre_load,
    .post_load = waiting_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(waiting_bytes, ExitlogNic),
        VMSTATE_VBUFFER_ALLOC_UINT32(waiting, ExitlogNic, 1, NULL,
                                     waiting_bytes),
        VMSTATE_END_OF_LIST()
    },
};

void exitlog_nic_register(ExitlogNic *nic)
{
    vmstate_register(NULL, nic->channel, &vmstate_waiting, nic);
}
