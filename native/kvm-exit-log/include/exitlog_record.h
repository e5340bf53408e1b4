/*
 * Records: what a log consists of.  A part of exitlog_abi.h, which says who includes it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXITLOG_RECORD_H
#define EXITLOG_RECORD_H

#include <stdint.h>

/*
 * Kinds of record: X(name, ordinal, has a payload).  Ordinals are never reused.  A
 * payload is `len` bytes in the data stream at offset `arg`, padded there to a
 * multiple of 8.  The addon tells TypeScript.
 */
#define EXITLOG_KINDS(X)                                                       \
    /* channel = NIC; payload = virtio-net header + frame */                   \
    X(NET_IN, 1, 1)                                                            \
    /* channel = console; payload = bytes typed */                             \
    X(CHAR_IN, 2, 1)                                                           \
    /*                                                                         \
     * channel = disk; arg = request id in issue order; len = the result, an   \
     * int32: 0 or -errno                                                      \
     */                                                                        \
    X(BLK_DONE, 3, 0)                                                          \
    /* payload = bytes handed to the guest */                                  \
    X(ENTROPY, 4, 1)                                                           \
    /* operator pressed the power button */                                    \
    X(POWERDOWN, 5, 0)                                                         \
    /* operator pressed reset */                                               \
    X(RESET, 6, 0)                                                             \
    /* channel = NIC; len = bytes; arg = output hash chain after this packet */ \
    X(NET_OUT, 7, 0)                                                           \
    /*                                                                         \
     * channel = console; payload = bytes printed since the last such record   \
     * of this channel                                                         \
     */                                                                        \
    X(CHAR_OUT, 8, 1)                                                          \
    /*                                                                         \
     * payload = struct exitlog_digest at this position; channel = enum        \
     * exitlog_digest_kind                                                     \
     */                                                                        \
    X(DIGEST, 9, 1)                                                            \
    /* channel = enum exitlog_end; the last record */                          \
    X(END, 10, 0)                                                              \
    /* channel = enum exitlog_clock, arg = its value */                        \
    X(CLOCK, 11, 0)                                                            \
    /*                                                                         \
     * the VM's state was brought to the form of one that was saved and        \
     * loaded; arg = hash of it                                                \
     */                                                                        \
    X(CHECKPOINT, 12, 0)                                                       \
    /*                                                                         \
     * channel = disk; payload = struct exitlog_blk_data and what the disk has \
     * there, because no replay can find it out by itself: a request of the    \
     * guest failed                                                            \
     */                                                                        \
    X(BLK_DATA, 13, 1)                                                         \
    /* the next one goes here */

enum exitlog_kind {
    EXITLOG_NONE = 0,
#define EXITLOG_KIND(name, ordinal, payload) EXITLOG_##name = ordinal,
    EXITLOG_KINDS(EXITLOG_KIND)
#undef EXITLOG_KIND
};

/* Sets of kinds: bit n is for ordinal n. */
#define EXITLOG_KNOWN_BIT(name, ordinal, payload) | (1ULL << ordinal)
#define EXITLOG_PAYLOAD_BIT(name, ordinal, payload) | (payload##ULL << ordinal)
#define EXITLOG_KINDS_KNOWN (0 EXITLOG_KINDS(EXITLOG_KNOWN_BIT))
#define EXITLOG_KINDS_WITH_PAYLOAD (0 EXITLOG_KINDS(EXITLOG_PAYLOAD_BIT))

/* Which serial port (the channel of CHAR_IN and CHAR_OUT). */
enum exitlog_console {
    EXITLOG_CONSOLE = 0,       /* for people */
    EXITLOG_CONSOLE_GUARD = 1, /* of the guard in the guest; not every VM has it */
    EXITLOG_CONSOLES = 2,
};

/* Why a log ended. */
enum exitlog_end {
    EXITLOG_END_POWEROFF = 1, /* the guest switched itself off */
    EXITLOG_END_STOP = 2,     /* the operator stopped it (Ctrl-C, `stop`) */
};

/* What a CLOCK record sets. */
enum exitlog_clock {
    EXITLOG_CLOCK_RATE = 0,   /* ns of guest time per instruction from here on,
                                 times 2^32 */
    EXITLOG_CLOCK_ORIGIN = 1, /* the host's CLOCK_REALTIME, ns, at guest time 0 */
    EXITLOG_CLOCK_STEP = 2,   /* the guest did not run for a while: its time is
                                 arg, ns, now */
    EXITLOG_CLOCK_RTC = 3,    /* at power-on: the RTC shows the host's CLOCK_REALTIME,
                                 which was arg, ns, at guest time 0 */
};

/* What a CHECKPOINT record is of (its channel). */
enum exitlog_checkpoint {
    EXITLOG_CHECKPOINT_REPLAY = 0, /* a replay starts here, or brings its VM to this form */
    EXITLOG_CHECKPOINT_EPOCH = 1,  /* an epoch ends: its state went through STATE before */
};

/* Which digest. */
enum exitlog_digest_kind {
    EXITLOG_DIGEST_FINAL = 0,    /* right before END */
    EXITLOG_DIGEST_PERIODIC = 1, /* on the way: a replay compares and goes on */
};

/* One exit, 32 bytes: also the ring's slot and schema/log.capnp's Record. */
struct exitlog_record {
    uint64_t icount;   /* instructions retired since power-on */
    int64_t vtime_ns;  /* guest virtual time */
    uint16_t kind;     /* enum exitlog_kind */
    uint16_t channel;
    uint32_t len;
    uint64_t arg;
};

/* Before the bytes of a BLK_DATA; without bytes after it, they are all zero. */
struct exitlog_blk_data {
    uint64_t request; /* in issue order, not yet completed; or: */
#define EXITLOG_BLK_NO_REQUEST UINT64_MAX
    uint64_t offset;  /* on the disk */
    uint64_t bytes;
};

/* Hash of VM state at a position. */
struct exitlog_digest {
    uint64_t cpu;
    uint64_t ram;
    uint64_t devices;
    uint64_t outputs;       /* the output hash chain */
    uint64_t outputs_count; /* NET_OUT packets since power-on */
};

/* The payload of a DIGEST right before the CHECKPOINT of an epoch. */
struct exitlog_cut_digest {
    struct exitlog_digest vm;
    uint64_t shipped; /* hash of the part DEVICES */
};

#endif
