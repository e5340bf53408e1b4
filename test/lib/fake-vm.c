/*
 * A stand-in for the patched QEMU: takes its command line, runs a "guest" that
 * prints lines and echoes what is typed, logs through the ring, replays.  Tests
 * of the commands use it for what is slow or hard to get from the real one.
 *
 * Environment: FAKE_VM = one of
 *   die         SIGKILL itself in the middle    freeze   SIGSTOP itself
 *   spin        the vCPU burns time             tap-busy, lock, unpatched: fail
 *   diverge     replay diverges at record 3     disk     replay writes otherwise
 *   flood       prints without end, as fast as commits allow
 *   lie         says that it has logged more than the ring holds
 * FAKE_VM_LINES = lines to print before power-off (default 20; 0: for ever)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "exitlog_abi.h"

static struct exitlog_shm *shm;
static uint8_t *base;
static const char *fault = "";
static uint64_t icount, inputs = 14695981039346656037ULL, outputs = 14695981039346656037ULL;
static char disk[4096];

#define LOAD(cell) __atomic_load_n(&(cell), __ATOMIC_ACQUIRE)
#define STORE(cell, value) __atomic_store_n(&(cell), (value), __ATOMIC_RELEASE)

static void notify(void)
{
    uint64_t one = 1;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (LOAD(shm->daemon_sleeping) && write(4, &one, 8) < 0) {
        /* readable already */
    }
}

static void set_state(uint32_t state)
{
    STORE(shm->state, state);
    notify();
}

static void fnv(uint64_t *hash, const uint8_t *bytes, uint32_t len)
{
    while (len--) {
        *hash = (*hash ^ *bytes++) * 1099511628211ULL;
    }
}

static void publish(void)
{
    STORE(shm->horizon_seq, shm->horizon_seq + 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    shm->horizon_icount = icount;
    shm->horizon_vtime_ns = (int64_t)icount * 2;
    STORE(shm->horizon_seq, shm->horizon_seq + 1);
    STORE(shm->icount, icount);
    STORE(shm->vtime_ns, (int64_t)icount * 2);
}

static void alive(void)
{
    static int count;
    STORE(shm->heartbeat, shm->heartbeat + 1);
    STORE(shm->visits, shm->visits + 1);
    count++;
    if (count == 20 && !strcmp(fault, "die")) {
        raise(SIGKILL);
    }
    if (count == 20 && !strcmp(fault, "freeze")) {
        raise(SIGSTOP);
    }
    if (count == 1000 && !strcmp(fault, "lie")) { /* a backup follows by then */
        STORE(shm->out.head, shm->out.head + shm->record_slots + 1);
    }
    while (count == 20 && !strcmp(fault, "spin")) {
        STORE(shm->heartbeat, shm->heartbeat + 1);
    }
}

static int out_full(uint32_t len)
{
    return shm->out.head - LOAD(shm->out.tail) + 4 > shm->record_slots ||
           shm->out.data_head - LOAD(shm->out.data_tail) + len + 64 > shm->data_bytes;
}

static void emit(uint16_t kind, uint16_t channel, const void *payload, uint32_t len)
{
    struct exitlog_record *slots = (void *)(base + shm->out_records_off);
    uint64_t at = shm->out.data_head;
    struct exitlog_record r = {icount, (int64_t)icount * 2, kind, channel, len, 0};

    while (out_full(len)) {
        alive();
        notify();
        usleep(1000);
    }
    if (payload) {
        r.arg = at;
        for (uint32_t i = 0; i < ((len + 7) & ~7u); i++) {
            base[shm->out_data_off + ((at + i) & (shm->data_bytes - 1))] =
                i < len ? ((const uint8_t *)payload)[i] : 0;
        }
        STORE(shm->out.data_head, at + ((len + 7) & ~7u));
    }
    slots[shm->out.head & (shm->record_slots - 1)] = r;
    STORE(shm->out.head, shm->out.head + 1);
    publish();
    notify();
}

static void print(const char *text, uint32_t len)
{
    fnv(&outputs, (const uint8_t *)text, len);
    emit(EXITLOG_CHAR_OUT, 0, text, len);
}

/* The next record of IN and a copy of its payload, or NULL. */
static const struct exitlog_record *peek(uint8_t *payload)
{
    struct exitlog_record *slots = (void *)(base + shm->in_records_off);
    const struct exitlog_record *r;

    if (LOAD(shm->in.head) == shm->in.tail) {
        return NULL;
    }
    r = &slots[shm->in.tail & (shm->record_slots - 1)];
    if (r->kind == EXITLOG_CHAR_IN || r->kind == EXITLOG_CHAR_OUT || r->kind == EXITLOG_DIGEST) {
        for (uint32_t i = 0; i < r->len; i++) {
            payload[i] = base[shm->in_data_off + ((r->arg + i) & (shm->data_bytes - 1))];
        }
        shm->in.data_tail = r->arg + ((r->len + 7) & ~7u);
    }
    return r;
}

static struct exitlog_digest digest(void)
{
    struct exitlog_digest d = {inputs, icount, 1, outputs, 0};
    return d;
}

static void write_disk(const char *text)
{
    int fd = *disk ? open(disk, O_WRONLY) : -1;
    if (fd >= 0 && pwrite(fd, text, strlen(text), 512) < 0) {
        perror("fake-vm: disk");
    }
}

static void end(uint32_t reason)
{
    struct exitlog_digest d = digest();
    write_disk("written");
    emit(EXITLOG_DIGEST, 0, &d, sizeof(d));
    emit(EXITLOG_END, reason, NULL, 0);
    STORE(shm->end_reason, reason);
    set_state(EXITLOG_STATE_ENDED);
    exit(0);
}

static void record(void)
{
    static uint8_t payload[1 << 20];
    const struct exitlog_record *r;
    int lines = atoi(getenv("FAKE_VM_LINES") ?: "20");
    char text[80];
    int printed = 0;

    set_state(EXITLOG_STATE_RECORDING);
    for (uint64_t tick = 1;; tick++) {
        alive();
        icount += 1000;
        publish();
        while ((r = peek(payload))) {
            uint32_t len = r->len;
            icount++;
            fnv(&inputs, payload, len);
            emit(EXITLOG_CHAR_IN, 0, payload, len);
            STORE(shm->in.tail, shm->in.tail + 1);
            print((const char *)payload, len);
        }
        if (LOAD(shm->control) & EXITLOG_CTL_STOP) {
            end(EXITLOG_END_STOP);
        }
        if (!strcmp(fault, "flood")) {
            for (int i = 0; i < 100; i++) {
                memset(payload, 'x', 4096);
                icount++;
                print((const char *)payload, 4096);
            }
        } else if (tick % 4 == 0) {
            print(text, snprintf(text, sizeof(text), "line %d\n", ++printed));
            if (lines && printed == lines) {
                end(EXITLOG_END_POWEROFF);
            }
        }
        usleep(1000);
    }
}

static void diverge(const char *reason, const struct exitlog_record *r)
{
    snprintf(shm->error, sizeof(shm->error),
             "{\"reason\":\"%s\",\"icount\":%" PRIu64 ",\"vtimeNs\":%" PRIu64 ",\"expected\":"
             "{\"ordinal\":%" PRIu64 ",\"icount\":%" PRIu64 ",\"vtimeNs\":%" PRId64 ","
             "\"kind\":\"charOut\",\"channel\":0,\"len\":%u,\"arg\":\"%" PRIu64 "\"}}",
             reason, icount, icount * 2, shm->in.tail, r->icount, r->vtime_ns, r->len, r->arg);
    set_state(EXITLOG_STATE_DIVERGED);
    exit(10);
}

static void replay(void)
{
    static uint8_t payload[1 << 20];
    const struct exitlog_record *r;
    struct exitlog_digest d;

    set_state(EXITLOG_STATE_REPLAYING);
    for (;;) {
        alive();
        r = peek(payload);
        if (!r) {
            uint64_t horizon = LOAD(shm->in_horizon_icount);

            icount = horizon > icount ? horizon : icount;
            publish();
            if ((LOAD(shm->control) & EXITLOG_CTL_GO_LIVE) && !peek(payload)) {
                shm->out.data_head = shm->out.data_tail = shm->in.data_tail;
                shm->out.head = shm->out.tail = shm->in.tail;
                record(); /* logs into OUT from here on */
            }
            STORE(shm->daemon_wanted, 1);
            notify();
            usleep(1000);
            STORE(shm->daemon_wanted, 0);
            continue;
        }
        icount = r->icount;
        publish();
        if (shm->in.tail == 3 && !strcmp(fault, "diverge")) {
            diverge("a console byte differs: expected \\\"l\\\", the guest printed \\\"x\\\"", r);
        }
        if (r->kind == EXITLOG_CHAR_IN) {
            fnv(&inputs, payload, r->len);
        } else if (r->kind == EXITLOG_CHAR_OUT) {
            fnv(&outputs, payload, r->len);
        } else if (r->kind == EXITLOG_DIGEST) {
            d = digest();
            if (memcmp(&d, payload, sizeof(d))) {
                diverge("the digest differs", r);
            }
        } else if (r->kind == EXITLOG_END) {
            write_disk(strcmp(fault, "disk") ? "written" : "WRITTEN");
            STORE(shm->end_reason, r->channel);
            set_state(EXITLOG_STATE_ENDED);
            exit(0);
        }
        STORE(shm->in.tail, shm->in.tail + 1);
        notify();
    }
}

static void fail(const char *text)
{
    fprintf(stderr, "qemu-system-x86_64: %s\n", text);
    exit(1);
}

int main(int argc, char **argv)
{
    const char *mode = "";
    struct exitlog_shm *first;

    fault = getenv("FAKE_VM") ?: "";
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 1; i < argc; i++) {
        char *file = strstr(argv[i], ",file=");
        if (!strcmp(argv[i], "--version")) {
            printf("QEMU emulator version 10.0.13 (fake)\n");
            return 0;
        }
        if (!strcmp(argv[i], "-exitlog") && i + 1 < argc) {
            mode = argv[i + 1];
        }
        if (file && !*disk) {
            snprintf(disk, sizeof(disk), "%.*s", (int)strcspn(file + 6, ","), file + 6);
        }
    }
    if (!strcmp(fault, "tap-busy")) {
        fail("-exitlog: could not configure /dev/net/tun (tap7): Device or resource busy");
    }
    if (!strcmp(fault, "lock")) {
        fail("-device virtio-blk-pci: Failed to get \"write\" lock");
    }
    if (!strcmp(fault, "unpatched")) {
        fail("-exitlog: invalid option");
    }
    first = mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 0);
    if (first == MAP_FAILED || first->magic != EXITLOG_MAGIC) {
        fail("descriptor 3 is no ring");
    }
    shm = mmap(NULL, first->total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
    base = (uint8_t *)shm;
    STORE(shm->heartbeat, 1);
    if (!strncmp(mode, "mode=replay", 11)) {
        replay();
    }
    record();
}
