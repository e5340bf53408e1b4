/*
 * The other end of the ring, as a process of its own: maps descriptor 3, reads
 * wake on 5, writes notify on 4, and follows exitlog_abi.h as QEMU must.
 *
 *   fake-qemu produce SEED COUNT PAYLOAD_MAX [HORIZON_EVERY [PAUSE_US]]
 *   fake-qemu echo COUNT          IN to OUT, then exit
 *   fake-qemu break WHAT          writes one rule-breaking record
 *   fake-qemu progress MS         moves the horizon all the time, up to icount_max
 *   fake-qemu half-horizon        dies inside the horizon's seqlock
 *   fake-qemu answer              answers marks and checkpoints (the second is
 *                                 given up), shows control as `injected`, until STOP
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "exitlog_abi.h"

static struct exitlog_shm *shm;

#define LOAD(cell) __atomic_load_n(&(cell), __ATOMIC_ACQUIRE)
#define STORE(cell, value) __atomic_store_n(&(cell), (value), __ATOMIC_RELEASE)
#define FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)

static void die(const char *why)
{
    fprintf(stderr, "fake-qemu: %s\n", why);
    exit(1);
}

static void map(void)
{
    struct exitlog_shm *first = mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 0);
    if (first == MAP_FAILED || first->magic != EXITLOG_MAGIC) {
        die("descriptor 3 is no ring");
    }
    if (first->header_bytes != sizeof(struct exitlog_shm)) {
        die("another ABI");
    }
    shm = mmap(NULL, first->total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
    if (shm == MAP_FAILED) {
        die("mmap");
    }
}

static void notify(void)
{
    uint64_t one = 1;
    FENCE();
    if (LOAD(shm->daemon_sleeping) && write(4, &one, 8) < 0) {
        /* readable already */
    }
}

/* Sleep until the daemon did something; `ready` is looked at once more first. */
static void wait_daemon(int (*ready)(uint64_t), uint64_t arg)
{
    struct pollfd fd = {.fd = 5, .events = POLLIN};
    uint64_t count;
    STORE(shm->daemon_wanted, 1);
    FENCE();
    while (!ready(arg)) {
        /* A lost wake-up must fail the test, not hang it. */
        if (poll(&fd, 1, 10000) == 0) {
            die("no wake-up for 10 s");
        }
        if (read(5, &count, 8) < 0) {
            /* taken */
        }
    }
    STORE(shm->daemon_wanted, 0);
}

static uint64_t need_data;

static int out_has_room(uint64_t need)
{
    return shm->out.head - LOAD(shm->out.tail) + need <= shm->record_slots &&
           shm->out.data_head + need_data - LOAD(shm->out.data_tail) <= shm->data_bytes;
}

static int in_has_record(uint64_t unused)
{
    (void)unused;
    return LOAD(shm->in.head) != shm->in.tail;
}

static uint8_t *ring_data(uint64_t off)
{
    return (uint8_t *)shm + off;
}

static void put(struct exitlog_record r, const uint8_t *payload, int has_payload)
{
    struct exitlog_record *slots = (void *)ring_data(shm->out_records_off);
    uint64_t mask = shm->data_bytes - 1;
    uint64_t padded = has_payload ? ((uint64_t)r.len + 7) & ~7ULL : 0;
    need_data = padded;
    if (!out_has_room(1)) {
        notify();
        wait_daemon(out_has_room, 1);
    }
    if (has_payload) {
        uint8_t *data = ring_data(shm->out_data_off);
        r.arg = shm->out.data_head;
        for (uint64_t i = 0; i < padded; i++) {
            data[(r.arg + i) & mask] = i < r.len ? payload[i] : 0;
        }
        STORE(shm->out.data_head, shm->out.data_head + padded);
    }
    slots[shm->out.head & (shm->record_slots - 1)] = r;
    STORE(shm->out.head, shm->out.head + 1);
    notify();
}

static void offer_horizon(uint64_t icount, int64_t vtime)
{
    STORE(shm->horizon_seq, shm->horizon_seq + 1);
    FENCE();
    shm->horizon_icount = icount;
    shm->horizon_vtime_ns = vtime;
    STORE(shm->horizon_seq, shm->horizon_seq + 1);
}

static void set_horizon(uint64_t icount, int64_t vtime)
{
    offer_horizon(icount, vtime);
    notify();
}

/* A guest that computes: nothing to log; as QEMU, notifies about every ms. */
static void progress(int64_t ms)
{
    struct timespec t;
    int64_t now, start = 0, told = 0;
    uint64_t icount = 0;
    STORE(shm->state, EXITLOG_STATE_RECORDING);
    do {
        clock_gettime(CLOCK_MONOTONIC, &t);
        now = t.tv_sec * 1000 + t.tv_nsec / 1000000;
        start = start ? start : now;
        if (icount >= LOAD(shm->icount_max)) {
            notify(); /* as a vCPU that waits there */
        } else {
            icount++;
        }
        STORE(shm->icount, icount);
        offer_horizon(icount, (int64_t)icount);
        for (int spin = 0; spin < 2000; spin++) {
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
        }
        if (now != told) {
            told = now;
            notify();
        }
    } while (now - start < ms);
    notify();
    printf("%" PRIu64 "\n", icount);
}

/* xorshift64*: the test's TypeScript has the same. */
static uint64_t rng;
static uint64_t next_random(void)
{
    rng ^= rng >> 12;
    rng ^= rng << 25;
    rng ^= rng >> 27;
    return rng * 0x2545f4914f6cdd1dULL;
}

static void produce(uint64_t seed, uint64_t count, uint32_t payload_max, uint64_t every,
                    uint64_t pause_us)
{
    static const uint16_t kinds[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11};
    uint8_t *payload = malloc(payload_max + 64);
    uint64_t icount = 0;
    rng = seed;
    STORE(shm->state, EXITLOG_STATE_RECORDING);
    for (uint64_t n = 0; n < count; n++) {
        uint64_t x = next_random();
        struct exitlog_record r = {0};
        icount += x % 1000;
        r.icount = icount;
        r.vtime_ns = (int64_t)(icount * 2);
        r.kind = kinds[(x >> 16) % 10];
        r.channel = (uint16_t)(x >> 60);
        int has = r.kind == 1 || r.kind == 2 || r.kind == 4 || r.kind == 8 || r.kind == 9;
        if (has) {
            r.len = r.kind == 9 ? 40 : (uint32_t)((x >> 24) % (payload_max + 1));
            for (uint32_t i = 0; i < r.len; i++) {
                payload[i] = (uint8_t)(n * 31 + i);
            }
        } else {
            r.len = (uint32_t)(x >> 32);
            r.arg = x;
        }
        put(r, payload, has);
        if (every != 0 && n % every == 0) {
            set_horizon(icount, r.vtime_ns);
        }
        STORE(shm->visits, n + 1);
        if (pause_us != 0) {
            usleep(pause_us);
        }
    }
    struct exitlog_record end = {.icount = icount, .vtime_ns = (int64_t)(icount * 2),
                                 .kind = EXITLOG_END, .channel = EXITLOG_END_POWEROFF};
    put(end, NULL, 0);
    set_horizon(icount, end.vtime_ns);
    shm->end_reason = EXITLOG_END_POWEROFF;
    STORE(shm->state, EXITLOG_STATE_ENDED);
    notify();
}

static void echo(uint64_t count)
{
    struct exitlog_record *slots = (void *)ring_data(shm->in_records_off);
    uint8_t *payload = malloc(shm->data_bytes);
    uint64_t mask = shm->data_bytes - 1;
    STORE(shm->state, EXITLOG_STATE_REPLAYING);
    for (uint64_t n = 0; n < count; n++) {
        if (!in_has_record(0)) {
            wait_daemon(in_has_record, 0);
        }
        struct exitlog_record r = slots[shm->in.tail & (shm->record_slots - 1)];
        int has = r.kind == 1 || r.kind == 2 || r.kind == 4 || r.kind == 8 || r.kind == 9;
        if (has) {
            const uint8_t *data = ring_data(shm->in_data_off);
            for (uint32_t i = 0; i < r.len; i++) {
                payload[i] = data[(r.arg + i) & mask];
            }
            STORE(shm->in.data_tail, r.arg + ((r.len + 7ULL) & ~7ULL));
        }
        STORE(shm->in.tail, shm->in.tail + 1);
        notify();
        put(r, payload, has);
    }
    uint32_t seq;
    uint64_t icount;
    int64_t vtime;
    do {
        seq = LOAD(shm->in_horizon_seq);
        icount = shm->in_horizon_icount;
        vtime = shm->in_horizon_vtime_ns;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (seq % 2 != 0 || shm->in_horizon_seq != seq);
    set_horizon(icount, vtime);
    STORE(shm->state, EXITLOG_STATE_ENDED);
    notify();
    printf("{\"outputsSent\":%" PRIu64 ",\"commit\":%" PRIu64 "}\n", shm->outputs_sent,
           shm->commit);
}

/* Does something at each wake-up only, so a missing one fails the test. */
static void answer(void)
{
    struct pollfd fd = {.fd = 5, .events = POLLIN};
    uint64_t count;
    STORE(shm->state, EXITLOG_STATE_RECORDING);
    do {
        if (poll(&fd, 1, 10000) == 0 || read(5, &count, 8) < 0) {
            die("no wake-up for 10 s");
        }
        STORE(shm->injected, LOAD(shm->control));
        STORE(shm->full_checkpoints_begun, LOAD(shm->full_checkpoints_wanted));
        STORE(shm->disk_marks_done, LOAD(shm->disk_marks_wanted));
        count = LOAD(shm->checkpoints_wanted);
        if (count != shm->checkpoints_answered) {
            if (count == 2) {
                shm->checkpoint_failures++;
            } else {
                shm->checkpoint_icount = count * 1000;
                shm->checkpoints++;
            }
            STORE(shm->checkpoints_answered, count);
        }
    } while (!(LOAD(shm->control) & EXITLOG_CTL_STOP));
}

static void break_rule(const char *what)
{
    struct exitlog_record *slots = (void *)ring_data(shm->out_records_off);
    struct exitlog_record r = {.icount = 10, .vtime_ns = 20, .kind = EXITLOG_RESET};
    uint64_t head = 1;
    if (!strcmp(what, "kind")) {
        r.kind = 77;
    } else if (!strcmp(what, "none")) {
        r.kind = 0;
    } else if (!strcmp(what, "payload-beyond")) {
        r.kind = EXITLOG_NET_IN;
        r.len = 4096;
    } else if (!strcmp(what, "payload-wild")) {
        r.kind = EXITLOG_NET_IN;
        r.len = 8;
        r.arg = ~7ULL;
    } else if (!strcmp(what, "payload-unaligned")) {
        r.kind = EXITLOG_NET_IN;
        r.len = 1;
        r.arg = 1;
        STORE(shm->out.data_head, 64);
    } else if (!strcmp(what, "backwards")) {
        slots[0] = r;
        slots[1] = r;
        slots[1].vtime_ns = 19;
        STORE(shm->out.head, 2);
        return;
    } else if (!strcmp(what, "too-many")) {
        head = shm->record_slots + 1;
    } else if (!strcmp(what, "too-much-data")) {
        STORE(shm->out.data_head, shm->data_bytes + 8);
    } else if (!strcmp(what, "error-without-nul")) {
        memset(shm->error, 'x', sizeof shm->error);
        STORE(shm->state, 99);
    } else {
        die("break what?");
    }
    slots[0] = r;
    STORE(shm->out.head, head);
}

int main(int argc, char **argv)
{
    map();
    if (argc >= 5 && !strcmp(argv[1], "produce")) {
        produce(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10),
                (uint32_t)atoi(argv[4]), argc > 5 ? strtoull(argv[5], NULL, 10) : 7,
                argc > 6 ? strtoull(argv[6], NULL, 10) : 0);
    } else if (argc == 3 && !strcmp(argv[1], "echo")) {
        echo(strtoull(argv[2], NULL, 10));
    } else if (argc == 3 && !strcmp(argv[1], "progress")) {
        progress(atoi(argv[2]));
    } else if (argc == 3 && !strcmp(argv[1], "break")) {
        break_rule(argv[2]);
    } else if (argc == 2 && !strcmp(argv[1], "answer")) {
        answer();
    } else if (argc == 2 && !strcmp(argv[1], "half-horizon")) {
        set_horizon(100, 200);
        STORE(shm->horizon_seq, shm->horizon_seq + 1);
        shm->horizon_icount = 999;
    } else {
        die("unknown mode");
    }
    return 0;
}
