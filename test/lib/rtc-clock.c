/*
 * In the guest: tells its RTC to the microsecond, over UDP.
 *
 *   rtc-clock PORT [TICK_US]
 *
 * The RTC shows whole seconds.  Where one begins is found by reading it until it
 * changes; from there on the TSC counts, which is guest time itself.  Any datagram is
 * answered with "RTC_NS SYSTEM_NS GAP_NS BACK", one that begins with 'e' after the RTC
 * was read again.  With TICK_US another process sleeps so long again and again: GAP_NS is
 * the longest time between two of its wake-ups since the last answer, BACK how often
 * CLOCK_MONOTONIC went back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

/* Known as well as this, the edge is found. */
#define EDGE_NS_MAX 300000
#define TRIES 8

struct ticks {
    volatile int64_t gap_ns;
    volatile int64_t back;
};

static int cmos(int index)
{
    int bcd;

    outb(index, 0x70);
    bcd = inb(0x71);
    return (bcd >> 4) * 10 + (bcd & 15);
}

static int64_t seconds(void)
{
    struct tm tm = {
        .tm_year = cmos(0x32) * 100 + cmos(9) - 1900,
        .tm_mon = cmos(8) - 1,
        .tm_mday = cmos(7),
        .tm_hour = cmos(4),
        .tm_min = cmos(2),
        .tm_sec = cmos(0),
    };

    return timegm(&tm);
}

/*
 * The RTC, ns, less the TSC.  A look before an edge and one after it give two bounds,
 * which are far apart where the guest did not run between them: of several edges the
 * narrowest count.
 */
static int64_t find_edge(void)
{
    int64_t least = INT64_MIN, most = INT64_MAX;

    for (int try = 0; try < TRIES; try++) {
        int first = cmos(0);
        int64_t before, now = __rdtsc(), edge;

        do {
            before = now;
            now = __rdtsc();
        } while (cmos(0) == first);
        now = __rdtsc();
        edge = seconds() * 1000000000;
        if (edge - now > most || edge - before < least) {
            least = INT64_MIN; /* somebody set it meanwhile */
            most = INT64_MAX;
        }
        least = edge - now > least ? edge - now : least;
        most = edge - before < most ? edge - before : most;
        if (most - least <= EDGE_NS_MAX) {
            break;
        }
    }
    return least + (most - least) / 2;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void tick(struct ticks *ticks, int us)
{
    int64_t last = clock_ns(CLOCK_MONOTONIC);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int64_t now;

        usleep(us);
        now = clock_ns(CLOCK_MONOTONIC);
        if (now < last) {
            ticks->back++;
        } else if (now - last > ticks->gap_ns) {
            ticks->gap_ns = now - last;
        }
        last = now;
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    struct ticks *ticks = mmap(NULL, sizeof(*ticks), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    struct sched_param first = { .sched_priority = 1 };
    int64_t offset;

    if (argc < 2 || ticks == MAP_FAILED || ioperm(0x70, 2, 1) < 0) {
        perror("rtc-clock");
        return 1;
    }
    at.sin_port = htons(atoi(argv[1]));
    if (bind(udp, (struct sockaddr *)&at, sizeof(at)) < 0) {
        perror("rtc-clock");
        return 1;
    }
    if (argc > 2 && fork() == 0) {
        tick(ticks, atoi(argv[2]));
    }
    sched_setscheduler(0, SCHED_FIFO, &first); /* others of the guest wait meanwhile */
    offset = find_edge();
    printf("rtc-clock: ready %s\n", argv[1]);
    fflush(stdout);
    for (;;) {
        char text[128] = "";
        socklen_t len = sizeof(at);
        ssize_t got = recvfrom(udp, text, 16, 0, (struct sockaddr *)&at, &len);

        if (got < 0) {
            continue;
        }
        if (text[0] == 'e') {
            offset = find_edge();
        }
        snprintf(text, sizeof(text), "%lld %lld %lld %lld",
                 (long long)((int64_t)__rdtsc() + offset),
                 (long long)clock_ns(CLOCK_REALTIME), (long long)ticks->gap_ns,
                 (long long)ticks->back);
        ticks->gap_ns = 0;
        sendto(udp, text, strlen(text), 0, (struct sockaddr *)&at, len);
    }
}
