// SPDX-License-Identifier: Apache-2.0
/*
 * The demo's service: stores each request on disk, then echoes it.
 *
 *   us-server [PORT [FILE]]          default 7 and /data/requests.log
 *
 * A frame, request and answer alike, all numbers little-endian:
 *
 *   u32 magic "USRQ" | u32 payload bytes (0 … 4096) | u64 number
 *   | u32 FNV-1a of the 16 bytes before and the payload | payload
 *
 * The promise: an answer leaves only after fdatasync has returned for the frame
 * it echoes. All requests that have arrived share one fdatasync (group commit).
 * FILE is the frames, one after another, in the order of their answers.
 *
 * A client that sends garbage is cut off; one that does not read its answers is
 * not read from. A disk that refuses a write ends the server: nothing that is not
 * stored is ever answered.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER = 20, PAYLOAD_MAX = 4096, CONNS = 16, IN_MAX = 65536 };
static const uint32_t MAGIC = 0x51525355; /* "USRQ" */

struct conn {
    int fd;
    size_t in_len;   /* received, from in[0] */
    size_t whole;    /* of these, whole frames: stored in this round, then answered */
    size_t out_len;  /* stored frames whose answers are not sent yet, from out[0] */
    uint8_t in[IN_MAX];
    uint8_t out[IN_MAX];
};

static struct conn conns[CONNS];

static void die(const char *what)
{
    printf("us-server: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t get32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t fnv1a(uint32_t hash, const uint8_t *p, size_t len)
{
    while (len--) {
        hash = (hash ^ *p++) * 16777619u;
    }
    return hash;
}

static void drop(struct conn *c, const char *why)
{
    if (why) {
        printf("us-server: connection dropped: %s\n", why);
    }
    close(c->fd);
    c->fd = -1;
}

/* Length of the whole frame at p; 0: more bytes are needed; -1: not a frame. */
static int frame_at(const uint8_t *p, size_t available)
{
    size_t payload;

    if (available < HEADER) {
        return 0;
    }
    payload = get32(p + 4);
    if (get32(p) != MAGIC || payload > PAYLOAD_MAX) {
        return -1;
    }
    if (available < HEADER + payload) {
        return 0;
    }
    if (fnv1a(fnv1a(2166136261u, p, 16), p + HEADER, payload) != get32(p + 16)) {
        return -1;
    }
    return HEADER + payload;
}

static void receive(struct conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_MAX - c->in_len, 0);
    int len;

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        drop(c, n < 0 ? strerror(errno) : NULL);
        return;
    }
    c->in_len += n;
    while ((len = frame_at(c->in + c->whole, c->in_len - c->whole)) > 0) {
        c->whole += len;
    }
    if (len < 0) {
        drop(c, "not a request");
    }
}

static void write_all(int fd, const uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno != EINTR) {
            die("cannot store requests");
        }
        if (n > 0) {
            p += n;
            len -= n;
        }
    }
}

static void send_answers(struct conn *c)
{
    ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            drop(c, strerror(errno));
        }
        return;
    }
    c->out_len -= n;
    memmove(c->out, c->out + n, c->out_len);
}

/* Stores what has arrived, and only then hands it to the answers. */
static void store_then_answer(int file)
{
    size_t stored = 0;

    for (int i = 0; i < CONNS; i++) {
        if (conns[i].fd >= 0 && conns[i].whole) {
            write_all(file, conns[i].in, conns[i].whole);
            stored += conns[i].whole;
        }
    }
    if (!stored) {
        return;
    }
    if (fdatasync(file)) {
        die("cannot sync requests");
    }
    for (int i = 0; i < CONNS; i++) {
        struct conn *c = &conns[i];

        if (c->fd < 0 || !c->whole) {
            continue;
        }
        memcpy(c->out, c->in, c->whole);
        c->out_len = c->whole;
        c->in_len -= c->whole;
        memmove(c->in, c->in + c->whole, c->in_len);
        c->whole = 0;
        send_answers(c);
    }
}

static int listen_on(int port)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    struct sockaddr_in address4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    int one = 1;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int is_v6 = fd >= 0;

    if (!is_v6) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if ((is_v6 ? bind(fd, (struct sockaddr *)&address, sizeof(address))
               : bind(fd, (struct sockaddr *)&address4, sizeof(address4))) ||
        listen(fd, CONNS)) {
        die("cannot listen");
    }
    return fd;
}

static void welcome(int listener)
{
    int one = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        return;
    }
    for (int i = 0; i < CONNS; i++) {
        if (conns[i].fd < 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            conns[i].fd = fd;
            conns[i].in_len = conns[i].whole = conns[i].out_len = 0;
            return;
        }
    }
    close(fd); /* all places are taken */
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 7;
    const char *path = argc > 2 ? argv[2] : "/data/requests.log";
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int listener;
    struct pollfd polls[CONNS + 1];

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (file < 0) {
        die(path);
    }
    listener = listen_on(port);
    for (int i = 0; i < CONNS; i++) {
        conns[i].fd = -1;
    }
    printf("us-server: listening on port %d\n", port);

    for (;;) {
        polls[CONNS] = (struct pollfd){ .fd = listener, .events = POLLIN };
        for (int i = 0; i < CONNS; i++) {
            struct conn *c = &conns[i];

            /* Not read from while answers wait: its memory here is bounded. */
            polls[i] = (struct pollfd){ .fd = c->fd, .events = c->out_len ? POLLOUT : POLLIN };
        }
        if (poll(polls, CONNS + 1, -1) < 0 && errno != EINTR) {
            die("poll");
        }
        for (int i = 0; i < CONNS; i++) {
            struct conn *c = &conns[i];

            if (c->fd < 0 || !polls[i].revents) {
                continue;
            }
            if (c->out_len) {
                send_answers(c);
            } else {
                receive(c);
            }
        }
        if (polls[CONNS].revents) {
            welcome(listener);
        }
        store_then_answer(file);
    }
}
