/*
 * A legacy virtio-net driver in user space: no VIRTIO_F_VERSION_1, no mergeable
 * buffers, so that a packet begins with 10 bytes.
 *
 *   legacy-net BDF GUEST-IP HOST-IP ECHOES SECONDS
 *
 * Takes the PCI function (which no kernel driver may have), asks for HOST-IP's
 * hardware address, exchanges so many echo requests of growing length, compares
 * every byte, stays as it is for so many seconds, and resets the device.  Needs
 * a huge page.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FEATURES_HOST = 0, FEATURES_GUEST = 4, QUEUE_PFN = 8, QUEUE_SIZE = 12,
       QUEUE_SELECT = 14, NOTIFY = 16, STATUS = 18, CONFIG_MAC = 20 };
enum { F_MAC = 1 << 5, ACK = 1, DRIVER = 2, DRIVER_OK = 4 };
enum { NEXT = 1, WRITE = 2, HUGE_BYTES = 2 << 20, HEADER_BYTES = 10,
       SLOT_BYTES = 2048, RX = 0, TX = 1, RX_SLOTS = 16 };

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct avail { uint16_t flags, idx, ring[]; };
struct used { uint16_t flags, idx; struct { uint32_t id, len; } ring[]; };

static struct queue {
    unsigned size;
    volatile struct desc *desc;
    volatile struct avail *avail;
    volatile struct used *used;
    uint16_t seen;
} queues[2];

static uint8_t *memory;         /* a huge page: contiguous for the device */
static uint64_t memory_phys;
static uint16_t base;
static uint8_t mac[6], host_mac[6];
static uint32_t guest_ip, host_ip;

static __attribute__((noreturn)) void fail(const char *what)
{
    printf("legacy-net: FAILED: %s\n", what);
    exit(1);
}

static void find_device(const char *bdf)
{
    char path[128];
    unsigned long start;
    uint16_t command;
    FILE *f;
    int fd;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", bdf);
    f = fopen(path, "r");
    if (!f || fscanf(f, "%lx", &start) != 1) {
        fail("no such device");
    }
    fclose(f);
    base = start;
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
    fd = open(path, O_RDWR);
    if (pread(fd, &command, 2, 4) != 2) {
        fail("no PCI configuration");
    }
    command |= 5; /* I/O space, bus master */
    if (pwrite(fd, &command, 2, 4) != 2 || iopl(3) < 0) {
        fail("no access to ports");
    }
    close(fd);
}

static void get_memory(void)
{
    uint64_t entry;
    int fd = open("/proc/self/pagemap", O_RDONLY);

    memory = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED ||
        pread(fd, &entry, 8, (uintptr_t)memory / 4096 * 8) != 8) {
        fail("no huge page");
    }
    memory_phys = (entry & ((1ull << 55) - 1)) * 4096;
    close(fd);
}

static uint8_t *slot(int queue, unsigned no)
{
    return memory + (1 << 20) + (queue * RX_SLOTS + no) * SLOT_BYTES;
}

static void set_desc(struct queue *q, unsigned no, uint8_t *at, uint32_t len,
                     uint16_t flags)
{
    q->desc[no].addr = memory_phys + (at - memory);
    q->desc[no].len = len;
    q->desc[no].flags = flags;
    q->desc[no].next = no + 1;
}

/* Header and frame have a descriptor each, as the legacy interface has it. */
static void offer(int queue, unsigned no, uint32_t frame_bytes)
{
    struct queue *q = &queues[queue];
    uint16_t write = queue == RX ? WRITE : 0;

    set_desc(q, 2 * no, slot(queue, no), HEADER_BYTES, NEXT | write);
    set_desc(q, 2 * no + 1, slot(queue, no) + HEADER_BYTES, frame_bytes, write);
    q->avail->ring[q->avail->idx % q->size] = 2 * no;
    __sync_synchronize();
    q->avail->idx++;
    __sync_synchronize();
    outw(queue, base + NOTIFY);
}

static void set_up(void)
{
    outb(0, base + STATUS);
    outb(ACK, base + STATUS);
    outb(ACK | DRIVER, base + STATUS);
    if (!(inl(base + FEATURES_HOST) & F_MAC)) {
        fail("no MAC");
    }
    outl(F_MAC, base + FEATURES_GUEST);
    for (int i = 0; i < 6; i++) {
        mac[i] = inb(base + CONFIG_MAC + i);
    }
    for (int i = 0; i < 2; i++) {
        struct queue *q = &queues[i];
        uint8_t *at = memory + i * 65536;

        outw(i, base + QUEUE_SELECT);
        q->size = inw(base + QUEUE_SIZE);
        q->desc = (void *)at;
        q->avail = (void *)(at + 16 * q->size);
        q->used = (void *)(at + (16 * q->size + 6 + 2 * q->size + 4095) / 4096 * 4096);
        outl((memory_phys + i * 65536) / 4096, base + QUEUE_PFN);
    }
    outb(ACK | DRIVER | DRIVER_OK, base + STATUS);
    for (int i = 0; i < RX_SLOTS; i++) {
        offer(RX, i, SLOT_BYTES - HEADER_BYTES);
    }
}

static void send_frame(const uint8_t *frame, uint32_t len)
{
    struct queue *q = &queues[TX];
    uint16_t before = q->used->idx;

    memset(slot(TX, 0), 0, HEADER_BYTES);
    memcpy(slot(TX, 0) + HEADER_BYTES, frame, len);
    offer(TX, 0, len);
    while (q->used->idx == before) {
        usleep(100);
    }
}

/* The next frame of that type and length for us; NULL after a while. */
static const uint8_t *receive(uint16_t type, uint32_t len)
{
    static uint8_t frame[SLOT_BYTES];
    struct queue *q = &queues[RX];

    for (int ms = 0; ms < 2000; ms++) {
        while (q->seen != q->used->idx) {
            unsigned id = q->used->ring[q->seen % q->size].id / 2;
            uint32_t got = q->used->ring[q->seen % q->size].len - HEADER_BYTES;

            q->seen++;
            memcpy(frame, slot(RX, id) + HEADER_BYTES, got);
            offer(RX, id, SLOT_BYTES - HEADER_BYTES);
            if (got == len && !memcmp(frame, mac, 6) &&
                frame[12] == type >> 8 && frame[13] == (type & 255)) {
                return frame;
            }
        }
        usleep(1000);
    }
    return NULL;
}

static void ask_address(void)
{
    static const uint8_t head[] = { 8, 6, 0, 1, 8, 0, 6, 4, 0, 1 };
    uint8_t frame[42] = { 0 };
    const uint8_t *reply;

    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    memcpy(frame + 12, head, sizeof(head));
    memcpy(frame + 22, mac, 6);
    memcpy(frame + 28, &guest_ip, 4);
    memcpy(frame + 38, &host_ip, 4);
    send_frame(frame, sizeof(frame));
    reply = receive(0x806, sizeof(frame));
    if (!reply || reply[21] != 2 || memcmp(reply + 28, &host_ip, 4)) {
        fail("no reply to ARP");
    }
    memcpy(host_mac, reply + 22, 6);
    printf("legacy-net: address\n");
}

static uint16_t checksum(const uint8_t *at, unsigned len)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < len; i += 2) {
        sum += at[i] << 8 | (i + 1 < len ? at[i + 1] : 0);
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return htons(~sum);
}

static void echo(unsigned number, unsigned payload)
{
    uint8_t frame[SLOT_BYTES] = { 0 };
    uint8_t *ip = frame + 14, *icmp = frame + 34;
    uint16_t total = htons(28 + payload), sum;
    const uint8_t *reply;

    memcpy(frame, host_mac, 6);
    memcpy(frame + 6, mac, 6);
    frame[12] = 8;
    ip[0] = 0x45;
    memcpy(ip + 2, &total, 2);
    ip[8] = 64;
    ip[9] = 1;
    memcpy(ip + 12, &guest_ip, 4);
    memcpy(ip + 16, &host_ip, 4);
    sum = checksum(ip, 20);
    memcpy(ip + 10, &sum, 2);
    icmp[0] = 8;
    icmp[7] = number;
    for (unsigned i = 0; i < payload; i++) {
        icmp[8 + i] = i * 7 + number;
    }
    sum = checksum(icmp, 8 + payload);
    memcpy(icmp + 2, &sum, 2);
    send_frame(frame, 42 + payload);
    reply = receive(0x800, 42 + payload);
    if (!reply || memcmp(reply + 38, icmp + 4, 4 + payload) || reply[34] ||
        checksum(reply + 34, 8 + payload)) {
        fail("an echo differs, or none came");
    }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 6) {
        fail("legacy-net BDF GUEST-IP HOST-IP ECHOES SECONDS");
    }
    guest_ip = inet_addr(argv[2]);
    host_ip = inet_addr(argv[3]);
    find_device(argv[1]);
    get_memory();
    set_up();
    ask_address();
    for (int i = 0; i < atoi(argv[4]); i++) {
        echo(i, 40 + i * 53 % 1400);
    }
    printf("legacy-net: %s echoes\n", argv[4]);
    usleep(atof(argv[5]) * 1e6);
    outb(0, base + STATUS);
    printf("legacy-net: reset\n");
    return 0;
}
