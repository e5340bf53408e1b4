/*
 * A station on a network with VLANs, whether or not the host's kernel has them.
 *
 *   station watch DEVICE
 *       prints each announcement: "rarp MAC VLAN", "arp MAC VLAN IP", "na MAC VLAN IP"
 *   station knock DEVICE VLAN MAC IP OWN-IP
 *       asks that neighbour, as one that knows it, until it answers or 20 s have passed;
 *       prints the ms
 *   station claim DEVICE VLAN MAC IP
 *       has that MAC address say that it has the IP address
 *
 * VLAN: 0 is untagged; one within another is OUTER.INNER.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#define KNOCK_MS 50
#define PATIENCE_MS 20000

static const uint8_t everybody[6] = { 255, 255, 255, 255, 255, 255 };
static int fd;
static uint8_t own_mac[6];

static void open_device(const char *name)
{
    struct sockaddr_ll at = { .sll_family = AF_PACKET };
    struct ifreq ifr = { 0 };
    int on = 1;

    fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
    if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &ifr) < 0) {
        perror(name);
        exit(1);
    }
    memcpy(own_mac, ifr.ifr_hwaddr.sa_data, 6);
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = if_nametoindex(name);
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) < 0) {
        perror("bind");
        exit(1);
    }
}

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* A frame as it was on the wire: the kernel has taken the outer tag out. */
static int get_frame(uint8_t *frame, size_t max)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    } control;
    struct iovec iov = { frame, max - 4 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
        .msg_control = &control, .msg_controllen = sizeof(control) };
    int len = recvmsg(fd, &message, 0);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    struct tpacket_auxdata aux;

    if (len >= 14 && c) {
        memcpy(&aux, CMSG_DATA(c), sizeof(aux));
        if (aux.tp_status & TP_STATUS_VLAN_VALID) {
            uint16_t tag[2] = { htons(aux.tp_vlan_tpid), htons(aux.tp_vlan_tci) };

            memmove(frame + 16, frame + 12, len - 12);
            memcpy(frame + 12, tag, 4);
            len += 4;
        }
    }
    return len;
}

/* Its type; *at: what follows; `vlan`: as text. */
static int parse(const uint8_t *frame, int len, int *at, char *vlan)
{
    int type = frame[12] << 8 | frame[13];

    *at = 14;
    strcpy(vlan, "0");
    for (int n = 0; (type == 0x8100 || type == 0x88a8) && len >= *at + 4; n++) {
        sprintf(n ? vlan + strlen(vlan) : vlan, n ? ".%d" : "%d",
                (frame[*at] & 15) << 8 | frame[*at + 1]);
        type = frame[*at + 2] << 8 | frame[*at + 3];
        *at += 4;
    }
    return type;
}

static int checksum_is_right(const uint8_t *ip)
{
    int payload = ip[4] << 8 | ip[5];
    uint32_t sum = payload + ip[6];

    for (int i = 8; i < 40 + payload; i += 2) {
        sum += ip[i] << 8 | ip[i + 1];
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum == 0xffff;
}

static void say(const char *what, const uint8_t *frame, const char *vlan,
                int family, const uint8_t *address)
{
    char text[64] = "";

    if (address) {
        inet_ntop(family, address, text, sizeof(text));
    }
    printf("%s %02x:%02x:%02x:%02x:%02x:%02x %s%s%s\n", what, frame[6], frame[7],
           frame[8], frame[9], frame[10], frame[11], vlan, address ? " " : "", text);
}

static void watch(void)
{
    static uint8_t frame[70000];
    int len, at;
    char vlan[16];

    puts("watching");
    while ((len = get_frame(frame, sizeof(frame))) > 0) {
        int type = len >= 14 ? parse(frame, len, &at, vlan) : 0;
        const uint8_t *body = frame + at;

        if (type == 0x8035 && len >= at + 28 && body[7] == 3) {
            say("rarp", frame, vlan, 0, NULL);
        } else if (type == 0x806 && len >= at + 28 &&
                   !memcmp(body + 14, body + 24, 4)) {
            say("arp", frame, vlan, AF_INET, body + 14);
        } else if (type == 0x86dd && len >= at + 72 && body[6] == 58 &&
                   body[40] == 136 && body[39] == 1 && body[24] == 0xff &&
                   checksum_is_right(body) && !memcmp(body + 66, frame + 6, 6)) {
            say("na", frame, vlan, AF_INET6, body + 48);
        }
    }
}

static void ask(const char *vlan, const uint8_t *mac, const char *ip,
                const char *own_ip)
{
    static const uint8_t arp[] = { 8, 6, 0, 1, 8, 0, 6, 4, 0, 1 };
    uint8_t frame[64] = { 0 };
    int at = 12;
    uint32_t from = inet_addr(own_ip), to = inet_addr(ip);

    memcpy(frame, mac, 6);
    memcpy(frame + 6, own_mac, 6);
    for (const char *next = vlan; atoi(vlan) && next; next = strchr(next, '.')) {
        uint16_t tag[2] = { htons(next == vlan && strchr(vlan, '.') ? 0x88a8 : 0x8100),
                            htons(atoi(next + (*next == '.'))) };

        memcpy(frame + at, tag, 4);
        at += 4;
        next += *next == '.';
    }
    memcpy(frame + at, arp, sizeof(arp));
    memcpy(frame + at + 10, own_mac, 6);
    memcpy(frame + at + 16, &from, 4);
    memcpy(frame + at + 26, &to, 4);
    if (send(fd, frame, sizeof(frame), 0) < 0) {
        perror("send");
        exit(1);
    }
}

static void get_mac(const char *text, uint8_t *mac)
{
    sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3,
           mac + 4, mac + 5);
}

static void knock(char **word)
{
    static uint8_t frame[70000];
    const char *vlan = word[0], *ip = word[2], *own_ip = word[3];
    uint32_t wanted = inet_addr(ip);
    double begun = now_ms(), asked = 0;
    uint8_t mac[6];
    char seen[16];
    int at;

    get_mac(word[1], mac);
    while (now_ms() - begun < PATIENCE_MS) {
        struct pollfd pfd = { .fd = fd, .events = POLLIN };

        if (now_ms() - asked > KNOCK_MS) {
            asked = now_ms();
            ask(vlan, mac, ip, own_ip);
        }
        if (poll(&pfd, 1, 5) > 0) {
            int len = get_frame(frame, sizeof(frame));

            if (len >= 46 && parse(frame, len, &at, seen) == 0x806 &&
                !strcmp(seen, vlan) && frame[at + 7] == 2 &&
                !memcmp(frame + 6, mac, 6) && !memcmp(frame, own_mac, 6) &&
                !memcmp(frame + at + 14, &wanted, 4)) {
                break;
            }
        }
    }
    printf("%.0f\n", now_ms() - begun);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 3) {
        return 2;
    }
    open_device(argv[2]);
    if (!strcmp(argv[1], "watch")) {
        watch();
    } else if (argc == 7) {
        knock(argv + 3);
    } else if (argc == 6) {
        get_mac(argv[4], own_mac);
        ask(argv[3], everybody, argv[5], argv[5]);
    }
    return 0;
}
