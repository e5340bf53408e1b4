/*
 * Exit log: the io thread.  It waits for the taps and for the daemon, without
 * the BQL, so that a packet's release never waits for the guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/announce.h"
#include "exitlog/exits/io-thread.h"
#include "exitlog/exits/net-queue.h"
#include "exitlog/exits/tap.h"
#include <poll.h>

#define HEARTBEAT_MS 50
#define NUDGE_NS (HEARTBEAT_MS * (int64_t)SCALE_MS)

static QemuThread thread;

static void release(void)
{
    ExitlogPacket *p;

    while ((p = exitlog_net_next_release())) {
        if (p->nic) {
            exitlog_tap_write(p->nic, p->data, p->len);
        }
        qatomic_set(&xl.shm->outputs_released, p->number);
        g_free(p);
    }
}

static void drain(int fd)
{
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof(count));

    (void)ignored; /* EAGAIN: nothing there */
}

/* Did the daemon do something that the vCPU may be waiting for? */
static bool vcpu_concerned(void)
{
    static uint32_t control_seen;
    static uint64_t requests_seen;
    uint32_t control = qatomic_read(&xl.shm->control);
    uint64_t requests = qatomic_read(&xl.shm->disk_marks_wanted) +
        qatomic_read(&xl.shm->checkpoints_wanted) +
        qatomic_read(&xl.shm->full_checkpoints_wanted);
    bool changed = control != control_seen || requests != requests_seen;

    control_seen = control;
    requests_seen = requests;
    return changed || qatomic_read(&xl.shm->daemon_wanted) ||
        (qatomic_read(&xl.live) &&
         qatomic_load_acquire(&xl.shm->in.head) != qatomic_read(&xl.shm->in.tail));
}

/*
 * While it executes, a vCPU makes visits or refills its count.  One that does neither
 * executes something without end that is not counted, or hardly: it is asked to.
 */
static void nudge(void)
{
    static uint64_t visits;
    static int64_t since_ns;
    int64_t now = get_clock();

    if (qatomic_read(&xl.shm->visits) != visits) {
        visits = qatomic_read(&xl.shm->visits);
        since_ns = now;
    } else if (now - since_ns >= NUDGE_NS) {
        since_ns = now;
        exitlog_nudge();
    }
}

static void went_live(void)
{
    for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
        if (exitlog_nics[i]) {
            exitlog_announce_begin(exitlog_nics[i]);
            exitlog_tap_hear_go_live(exitlog_nics[i]);
        }
    }
}

static int64_t announce(void)
{
    int64_t next = INT64_MAX;

    for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
        if (exitlog_nics[i]) {
            next = MIN(next, exitlog_announce(exitlog_nics[i], get_clock()));
        }
    }
    return next;
}

static void *io_thread(void *opaque)
{
    struct pollfd pfd[2 + EXITLOG_NICS_MAX];
    bool live = qatomic_read(&xl.live);
    bool down = false;

    rcu_register_thread();
    for (;;) {
        nfds_t n = 2;
        int64_t next = announce();
        int timeout_ms = HEARTBEAT_MS;

        pfd[0] = (struct pollfd) { .fd = xl.wake_fd, .events = POLLIN };
        pfd[1] = (struct pollfd) { .fd = exitlog_io_wake_fd(), .events = POLLIN };
        for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
            ExitlogNic *nic = exitlog_nics[i];
            if (nic && nic->fd >= 0 && !down) {
                pfd[n++] = (struct pollfd) {
                    .fd = nic->fd,
                    .events = exitlog_net_takes_more(nic) ? POLLIN : 0,
                };
            }
        }
        if (next != INT64_MAX || down) {
            timeout_ms = 10;
        }
        poll(pfd, n, timeout_ms);
        down = false;
        for (nfds_t i = 2; i < n; i++) {
            down |= pfd[i].revents & (POLLERR | POLLHUP);
        }
        qatomic_set(&xl.shm->heartbeat, xl.shm->heartbeat + 1);
        if (pfd[0].revents) {
            drain(xl.wake_fd);
        }
        if (pfd[1].revents) {
            drain(exitlog_io_wake_fd());
        }
        if (!live && qatomic_read(&xl.live)) {
            live = true;
            went_live();
        }
        release();
        nudge();
        if (pfd[0].revents && vcpu_concerned()) {
            exitlog_kick(); /* also a vCPU that waits for room to hold more */
        }
        for (int i = 0; i < EXITLOG_NICS_MAX; i++) {
            if (exitlog_nics[i] && exitlog_nics[i]->fd >= 0) {
                exitlog_tap_read(exitlog_nics[i]);
            }
        }
    }
    return NULL;
}

void exitlog_io_start(void)
{
    qemu_thread_create(&thread, "exitlog-io", io_thread, NULL,
                       QEMU_THREAD_DETACHED);
}
