/*
 * Exit log: what a tap hears while replaying.
 *
 * Nothing of it reaches the guest.  It is kept for a moment, less what the log
 * has too: what the primary was sent last, and did not log, it took with it.
 * A switch that sends the VM's frames to both sides (`learning off`) lets us
 * hear all of that; one that learns lets us hear what comes after the primary's
 * port has lost its carrier.  Given to the guest after going live, it saves the
 * client a retransmission timer: 200 ms at least with Linux' TCP.
 *
 * Either side of a match may be first: the log comes by way of two daemons, and
 * the io thread may have had no CPU meanwhile.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "exitlog/core/hash.h"
#include "exitlog/exits/heard.h"

#define KEPT_NS_MAX (1000 * (int64_t)SCALE_MS)
/* A switch that has sent us none of the VM's frames for so long sends us none. */
#define SENDS_NS_MAX (10 * KEPT_NS_MAX)
/* Headers, checksums and enough of the rest. */
#define HASHED_BYTES_MAX 2048

void heard_init(Heard *h)
{
    qemu_mutex_init(&h->lock);
    g_queue_init(&h->kept);
    h->early_at_ns = h->sent_at_ns = INT64_MIN;
}

static uint64_t hash_of(const uint8_t *frame, size_t bytes)
{
    return exitlog_hash(frame, MIN(bytes, HASHED_BYTES_MAX), 0);
}

static bool since(const int64_t *at_ns, int64_t span_ns)
{
    int64_t at = qatomic_read(at_ns);

    return at != INT64_MIN && get_clock() - at <= span_ns;
}

bool heard_from_log_before(Heard *h, const uint8_t *data, size_t len, size_t head)
{
    uint64_t hash;

    if (!since(&h->early_at_ns, KEPT_NS_MAX) || len < head) {
        return false;
    }
    hash = hash_of(data + head, len - head);
    QEMU_LOCK_GUARD(&h->lock);
    for (int i = 0; i < HEARD_PACKETS_MAX; i++) {
        HeardEarly *e = &h->early[i];

        if (e->len == len && e->hash == hash && since(&e->at_ns, KEPT_NS_MAX)) {
            e->len = 0;
            return true;
        }
    }
    return false;
}

void heard_from_tap(Heard *h, const uint8_t *data, size_t len, size_t head)
{
    HeardPacket *p;

    if (!(data[head] & 1)) {
        qatomic_set(&h->sent_at_ns, get_clock());
    }
    if (heard_from_log_before(h, data, len, head)) {
        return;
    }
    p = g_malloc(sizeof(*p) + len);
    p->at_ns = get_clock();
    p->len = len;
    memcpy(p->data, data, len);
    QEMU_LOCK_GUARD(&h->lock);
    g_queue_push_tail(&h->kept, p);
    while (h->kept.length > HEARD_PACKETS_MAX ||
           p->at_ns - ((HeardPacket *)g_queue_peek_head(&h->kept))->at_ns > KEPT_NS_MAX) {
        g_free(g_queue_pop_head(&h->kept));
    }
}

void heard_from_log(Heard *h, const uint8_t *data, size_t len, size_t head)
{
    HeardEarly *e;

    if (!since(&h->sent_at_ns, SENDS_NS_MAX) || len < head) {
        return;
    }
    QEMU_LOCK_GUARD(&h->lock);
    for (GList *link = h->kept.head; link; link = link->next) {
        HeardPacket *p = link->data;

        if (p->len == len && !memcmp(p->data + head, data + head, len - head)) {
            g_queue_delete_link(&h->kept, link);
            g_free(p);
            return;
        }
    }
    e = &h->early[h->early_next++ % HEARD_PACKETS_MAX];
    *e = (HeardEarly) {
        .at_ns = get_clock(), .hash = hash_of(data + head, len - head), .len = len,
    };
    qatomic_set(&h->early_at_ns, e->at_ns);
}

HeardPacket *heard_next(Heard *h)
{
    HeardPacket *p;

    QEMU_LOCK_GUARD(&h->lock);
    while ((p = g_queue_pop_head(&h->kept)) && !since(&p->at_ns, KEPT_NS_MAX)) {
        g_free(p);
    }
    return p;
}
