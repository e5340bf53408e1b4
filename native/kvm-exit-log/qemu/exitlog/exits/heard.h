/*
 * Exit log: what a tap hears while replaying.
 *
 * A packet begins with `head` bytes that are not its frame's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_HEARD_H
#define EXITLOG_EXITS_HEARD_H

#include "qemu/thread.h"

#define HEARD_PACKETS_MAX 512

typedef struct HeardPacket {
    int64_t at_ns;
    uint32_t len;
    uint8_t data[];
} HeardPacket;

/* A packet that the log had before our tap. */
typedef struct HeardEarly {
    int64_t at_ns;
    uint64_t hash;
    uint32_t len;           /* 0: none */
} HeardEarly;

typedef struct Heard {
    QemuMutex lock;
    GQueue kept;            /* of HeardPacket: the log has not had them */
    HeardEarly early[HEARD_PACKETS_MAX];
    unsigned early_next;
    int64_t early_at_ns;    /* the latest; INT64_MIN: none */
    int64_t sent_at_ns;     /* the switch sent us a frame for the VM alone; INT64_MIN: never */
} Heard;

void heard_init(Heard *h);
/* io thread: our tap has this packet for the VM. */
void heard_from_tap(Heard *h, const uint8_t *data, size_t len, size_t head);
/* vCPU thread: the log has this packet. */
void heard_from_log(Heard *h, const uint8_t *data, size_t len, size_t head);
/* io thread, live: the next that the log had not, or NULL.  Caller frees it. */
HeardPacket *heard_next(Heard *h);
/* io thread, live: did the log have it before our tap? */
bool heard_from_log_before(Heard *h, const uint8_t *data, size_t len, size_t head);

#endif
