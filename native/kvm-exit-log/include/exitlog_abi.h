/*
 * The ring's ABI: what the patched QEMU and the addon share.
 *
 * One memfd per QEMU process, created by the daemon (through the addon), passed
 * as an inherited descriptor, mapped by both.  It holds this header, and two
 * rings: OUT (QEMU produces: the exit log of a running VM) and IN (the daemon
 * produces: the log to replay, or, on a live VM, commands).
 *
 * One header for both sides, with exitlog_record.h, what a log consists of: QEMU's C
 * includes it, the addon's C++ includes it, and test/native/ checks every offset against
 * schema/log.capnp.
 *
 * All integers are little-endian.  All counters only grow.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXITLOG_ABI_H
#define EXITLOG_ABI_H

#include <stdint.h>

#include "exitlog_record.h"

#define EXITLOG_MAGIC 0x31474f4c54495845ULL /* "EXITLOG1", little-endian */
#define EXITLOG_ABI_VERSION 9u

/*
 * STATE: what an epoch of a live VM has changed, for a protocol by checkpoint.  A stream of
 * pieces: one of these, the data if it has any, padded to a multiple of 8; then the next.
 */
struct exitlog_piece {
    uint32_t part;   /* enum exitlog_part */
    uint32_t flags;  /* EXITLOG_PIECE_ */
    uint64_t offset; /* within the part */
    uint64_t bytes;  /* at most EXITLOG_PIECE_BYTES_MAX if it has data */
    uint64_t epoch;  /* from 1 */
};

#define EXITLOG_EPOCH_NEVER UINT64_MAX
#define EXITLOG_PIECE_DATA 1u /* data follow; else it is all zero */
#define EXITLOG_PIECE_BYTES_MAX (1u << 20)

enum exitlog_part {
    EXITLOG_PART_BLOCKS = 0,  /* the memory blocks, whole: first of all, and of an epoch
                                 in which a length has changed */
    EXITLOG_PART_DEVICES = 1, /* CPUs and devices, whole */
    EXITLOG_PART_PACKETS = 4, /* that the guest has sent and that had not left at the cut:
                                 struct exitlog_packet and its bytes, padded to 8, of each
                                 that there is room for; whole, or none */
    EXITLOG_PART_REFERENCES = 5, /* struct exitlog_reference, each a write to a disk: in its
                                 order among the others and those of the disks */
    EXITLOG_PART_BEGIN = 3,   /* what follows is of an image that has nothing yet; bytes: 0 */
    EXITLOG_PART_END = 2,     /* of the epoch; offset: ordinal of its CHECKPOINT record;
                                 bytes: 0 */
    EXITLOG_PART_RAM = 16,    /* and on: the memory blocks, in the order of BLOCKS */
    EXITLOG_PART_DISK = 4096, /* and on: the disks; what the guest writes there, in the
                                 order in which it does, among the other parts */
};

/* A memory block, in the part BLOCKS. */
struct exitlog_block {
    char name[256];
    uint64_t bytes; /* at most */
    uint64_t used;  /* of these; beyond, nothing counts */
};

/* Before the bytes of a packet, as its NIC's queue has them, in the part PACKETS. */
struct exitlog_packet {
    uint32_t nic;
    uint32_t bytes;
    uint64_t number; /* since power-on, from 1 */
};

#define EXITLOG_PACKETS_BYTES_MAX (256u << 10)

/*
 * A write to a disk whose data lie in memory, in the part REFERENCES: not in the first epoch of
 * an image.
 */
struct exitlog_reference {
    uint64_t offset; /* on the disk */
    uint64_t at;     /* in the memory block */
    uint32_t bytes;
    uint16_t disk;
    uint8_t block;   /* in the order of BLOCKS */
    uint8_t flags;   /* EXITLOG_REFERENCE_ */
};

#define EXITLOG_REFERENCE_BEFORE 1u /* as the epoch before has left it there; else as this
                                       one does */

/*
 * Kinds of event of a live VM that can end an epoch: X(name, ordinal).  Bits of
 * epoch_events.
 */
#define EXITLOG_EVENTS(X)                                                      \
    /* a record of that name */                                                \
    X(NET_OUT, 0)                                                              \
    X(CHAR_OUT, 1)                                                             \
    /* the guest asked for what changes a disk */                              \
    X(DISK_WRITE, 2)                                                           \
    X(NET_IN, 3)                                                               \
    X(CHAR_IN, 4)                                                              \
    /* a BLK_DONE record */                                                    \
    X(DISK_DONE, 5)                                                            \
    X(ENTROPY, 6)                                                              \
    /* timers of devices have expired, one or several at once */               \
    X(TIMER, 7)                                                                \
    /*                                                                         \
     * of an io-log: a write of data that were changed in this epoch, and of   \
     * others; or one after which much is kept of such data                    \
     */                                                                        \
    X(IO_LOG, 8)                                                               \
    /* epoch_pages_max pages were written since the last cut */               \
    X(PAGES, 9)                                                                \
    /*                                                                         \
     * the guest has sent packets in this epoch, and has slept in it, before   \
     * or after: those of one that does not are a burst                        \
     */                                                                        \
    X(NET_LONE, 10)                                                             \
    /* the next one goes here */

enum exitlog_event {
#define EXITLOG_EVENT(name, ordinal) EXITLOG_EVENT_##name = ordinal,
    EXITLOG_EVENTS(EXITLOG_EVENT)
#undef EXITLOG_EVENT
    EXITLOG_EVENT_COUNT
};

#define EXITLOG_EVENT_KINDS_MAX 16 /* room for them */

#define EXITLOG_PAUSES 64 /* kinds of pause, by their length */

/* A ring of bytes; `head` is the producer's, `tail` the consumer's, as below. */
struct exitlog_stream {
    uint64_t head;
    uint64_t pad0[7];
    uint64_t tail;
    uint64_t pad1[7];
};

/*
 * A ring of records and its data stream.  `head`, `data_head` are written by
 * the producer with release order (data first, then head), `tail`, `data_tail`
 * by the consumer.  Slot of record n: n & (record_slots - 1); byte of stream
 * offset o: o & (data_bytes - 1); a payload may wrap.
 *
 * A log runs on through terms: a QEMU that goes live begins OUT where IN ends, and
 * sets all four of OUT's counters so before its state is RECORDING.  (The first
 * of that log may come from the visit in which the replay ended, just before.)
 */
struct exitlog_ring {
    uint64_t head;
    uint64_t data_head;
    uint64_t pad0[6];
    uint64_t tail;
    uint64_t data_tail;
    uint64_t pad1[6];
};

/* What the QEMU process is doing (shm.state). */
enum exitlog_state {
    EXITLOG_STATE_INIT = 0,      /* started, guest not yet running */
    EXITLOG_STATE_RECORDING = 1, /* live, logging into OUT */
    EXITLOG_STATE_REPLAYING = 2, /* consuming IN */
    EXITLOG_STATE_ENDED = 3,     /* reached END; end_reason is valid */
    EXITLOG_STATE_DIVERGED = 4,  /* error[] says expected and actual */
    EXITLOG_STATE_FAILED = 5,    /* error[] says why */
    EXITLOG_STATE_WAITING = 6,   /* made, not running, beside an image: its memory may
                                    be written from outside until GO_LIVE */
};

/*
 * Requests from the daemon (shm.control), set with atomic or.  Only
 * DETACHED is ever cleared.
 */
enum exitlog_control {
    EXITLOG_CTL_GO_LIVE = 1,  /* replaying: when IN is used up and in_horizon is
                                 reached, attach to the real back ends; waiting: the
                                 image is written, and IN, empty, begins after its
                                 CHECKPOINT record */
    EXITLOG_CTL_DETACHED = 2, /* outputs need no acknowledgement: this side won
                                 the fence and runs alone.  Cleared when a new
                                 backup has joined: from then on a packet that
                                 has not left waits for `commit` again */
    EXITLOG_CTL_STOP = 4,     /* end the log at the next exact position, write
                                 DIGEST and END, exit */
};

/*
 * What the daemon wants to be woken for (shm.daemon_sleeping).  From OUTPUTS on
 * also for a change of state, and for an OUT that is more than half full; the
 * daemon looks for inputs and progress by itself, now and then.
 */
enum exitlog_sleeping {
    EXITLOG_AWAKE = 0,            /* nothing: it is busy and will look by itself */
    EXITLOG_SLEEPS = 1,           /* anything added to OUT, taken from IN, or a
                                     moved horizon */
    EXITLOG_SLEEPS_OUTPUTS = 2,   /* NET_OUT, CHAR_OUT, END */
    EXITLOG_SLEEPS_PACKETS = 3,   /* NET_OUT, END: console bytes wait already */
};

#define EXITLOG_ERROR_BYTES 1024

struct exitlog_shm {
    /* Set by the daemon before QEMU starts; constant. */
    uint64_t magic;
    uint32_t abi_version;
    uint32_t header_bytes;   /* sizeof(struct exitlog_shm) */
    uint64_t total_bytes;
    uint64_t record_slots;   /* of each ring; a power of two */
    uint64_t data_bytes;     /* of each ring; a power of two */
    uint64_t out_records_off;
    uint64_t out_data_off;
    uint64_t in_records_off;
    uint64_t in_data_off;
    uint64_t state_off;
    uint64_t state_bytes;    /* a power of two, or 0: no epochs */
    uint64_t pad_const[5];   /* to 128 */

    struct exitlog_ring out; /* 128 */
    struct exitlog_ring in;  /* 256 */

    /* Written by QEMU. */
    /*
     * The horizon QEMU offers: every record with a position before
     * (icount, vtime) is in OUT.  A seqlock: read seq (even), the pair, then
     * seq again.  Read the horizon BEFORE reading out.head.
     */
    uint32_t horizon_seq;    /* 384 */
    uint32_t state;          /* enum exitlog_state */
    uint64_t horizon_icount;
    int64_t horizon_vtime_ns;
    uint32_t end_reason;     /* enum exitlog_end */
    uint32_t daemon_wanted;  /* QEMU sleeps until the daemon does something.
                                1: wake it by the wake eventfd; 2: it waits on
                                this word with a futex: 2 -> 0 and FUTEX_WAKE */
    uint64_t icount;         /* position now; also while replaying */
    int64_t vtime_ns;
    uint64_t heartbeat;      /* grows every 50 ms while the io thread lives */
    uint64_t visits;         /* times round the vCPU loop, and refills: a vCPU
                                that hangs does not advance it */
    uint64_t injected;       /* inputs injected */
    uint64_t outputs;        /* NET_OUT packets produced since power-on */
    uint64_t outputs_released; /* of these, sent; or, replaying, known sent */
    uint64_t net_in_dropped; /* packets dropped because a queue was full */
    uint64_t idle_ns;        /* host time the vCPU spent idle */
    uint64_t wait_ns;        /* host time the vCPU waited for the daemon */
    uint64_t live_at_ns;     /* CLOCK_MONOTONIC when this QEMU went live, or 0 */
    uint64_t checkpoints;    /* written, whole */
    uint64_t checkpoint_failures; /* given up; why is on stderr */
    uint64_t disk_marks_done; /* = the disk_marks_wanted that is answered */
    uint64_t checkpoints_answered; /* of checkpoints_wanted: written, or given up */
    uint64_t checkpoint_icount; /* of the last one that became whole; valid before
                                   its request is answered */
    uint64_t full_checkpoints_begun; /* = the full_checkpoints_wanted that is answered:
                                   a full one's position is fixed, it is written */
    int64_t clock_behind_ns; /* of a live VM: its time of day is so much less than
                                the host's CLOCK_REALTIME; slewed, within bounds */
    uint64_t epochs;         /* that were cut */
    uint64_t epoch_pages;    /* in all of them */
    uint64_t epoch_pause_ns; /* the guest stood still for them, in all */
    uint64_t epoch_pause_ns_max;
    uint64_t epoch_starts;   /* = the epoch_starts_wanted that is answered: what the guest
                                writes to its disks from here on is in STATE */
    /*
     * Records of OUT from this ordinal on wait: the state of the epoch that ends there is not
     * whole in STATE yet.  0: none waits.  Set before such a record is in OUT; read it after
     * out.head.
     */
    uint64_t out_held;
    uint64_t epoch_references; /* disk writes, or parts of them, in epochs as references */
    uint64_t epoch_versions; /* pages of which an epoch has the data instead, because they
                                were changed between the write and the cut */
    uint64_t pad_qemu[2];    /* to 640 */

    /* Written by the daemon. */
    uint32_t control;        /* 640: enum exitlog_control */
    uint32_t in_horizon_seq; /* seqlock of the pair below */
    uint64_t in_horizon_icount;
    int64_t in_horizon_vtime_ns;
    uint64_t commit;         /* records of OUT that are acknowledged: outputs
                                whose record is before this ordinal may leave */
    uint64_t icount_max;     /* the vCPU waits when it gets here: the nearest of
                                what holds it; UINT64_MAX: nothing does */
    uint64_t outputs_sent;   /* replaying: the primary is known to have sent
                                this many; the rest are kept for going live */
    uint32_t daemon_sleeping; /* enum exitlog_sleeping: when QEMU writes the
                                notify eventfd */
    uint32_t pad_daemon0;
    /*
     * Requests to a live VM with -exitlog checkpoints=DIR; QEMU is woken by the wake
     * eventfd, and answers those made before it began together.  A mark: the
     * next checkpoint on request has, of the disks, what may have been written
     * after it, so that with a copy of the images begun after the answer it is
     * whole.  Without checkpoints=DIR no mark is answered.
     */
    uint64_t disk_marks_wanted;
    uint64_t checkpoints_wanted;
    /*
     * Requests to a VM whose checkpoints recur: the next is due now, and full.  Any full
     * one answers the requests made before its position.
     */
    uint64_t full_checkpoints_wanted;
    /*
     * Epochs, with a STATE: the numbers may change at any time.  An epoch's outputs leave
     * like all others, when `commit` is past the records before its CHECKPOINT.
     */
    uint64_t epoch_ns;       /* a cut is due after so long; 0: no epochs;
                                EXITLOG_EPOCH_NEVER: writes to disks only */
    uint64_t epoch_packet_ns; /* or when a packet of the guest has waited so long */
    uint64_t epochs_in_flight; /* the guest waits while more are not committed */
    uint64_t epoch_digests;  /* a DIGEST right before the CHECKPOINT of an epoch so many
                                instructions after the last one, of the pages as they were
                                copied; 1: of all, of memory itself, in the pause; 0: none */
    uint64_t epoch_starts_wanted; /* an image is begun, of which nothing is there yet */
    uint64_t epoch_events;   /* a cut is due when one of these has happened, before the
                                guest goes on: bits, enum exitlog_event */
    uint64_t epoch_io_log;   /* 1: what the guest writes to its disks goes as references where
                                it can */
    uint64_t epoch_pages_max; /* of the event PAGES; 0: it never happens */
    uint64_t pad_daemon[6];  /* to 832 */

    char error[EXITLOG_ERROR_BYTES]; /* UTF-8, NUL-terminated; JSON */

    struct exitlog_stream epoch_state; /* 1856 */

    /* Written by QEMU, of a live VM: by kind, what has happened, and which of the cuts
       were for one of it (the first since the cut before). */
    uint64_t events[EXITLOG_EVENT_KINDS_MAX]; /* 1984 */
    uint64_t event_cuts[EXITLOG_EVENT_KINDS_MAX];

    /* Pauses for cuts, by how long they were (exitlog_pause_ns()). */
    uint64_t epoch_pauses[EXITLOG_PAUSES];
};

/* Four kinds of pause an octave, from 4 us on; the last one has what is longer. */
static inline uint64_t exitlog_pause_ns(unsigned kind) /* it is shorter than this */
{
    return (5ULL + kind % 4) << (kind / 4 + 10);
}

#endif
