/*
 * us-guard: the serial port.  A host that takes nothing, or a guest without the port, must not
 * stop the watching: lines are dropped then, whole ones.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "us-guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define AGAIN_MS 1000

static const char *where;
static int fd = -1;
static int64_t try_at_ms;
static char out[8192];
static size_t out_bytes;
static char in[128];
static size_t in_bytes;
static bool too_long; /* the line that comes */
static unsigned long sequence;

void port_open(const char *path)
{
    struct termios raw;

    where = path;
    try_at_ms = now_ms() + AGAIN_MS;
    fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || tcgetattr(fd, &raw) < 0) {
        return; /* none, or a pipe or a file: for trying it out */
    }
    cfmakeraw(&raw);
    raw.c_cflag |= CLOCAL | CREAD;
    cfsetspeed(&raw, B115200);
    tcsetattr(fd, TCSANOW, &raw);
}

int port_fd(void)
{
    return fd;
}

short port_events(void)
{
    return fd < 0 ? 0 : out_bytes ? POLLIN | POLLOUT : POLLIN;
}

static void lost(void)
{
    close(fd);
    fd = -1;
    out_bytes = in_bytes = 0;
}

void port_say(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    int head, n;

    head = snprintf(line, sizeof line, "{\"guard\":1,\"seq\":%lu,", sequence);
    va_start(args, format);
    n = vsnprintf(line + head, sizeof line - head, format, args);
    va_end(args);
    n += head;
    if (n + 3 > (int)sizeof line) {
        return;
    }
    sequence++; /* a gap tells of what was dropped */
    if (fd < 0 || out_bytes + n + 2 > sizeof out) {
        return;
    }
    memcpy(out + out_bytes, line, n);
    memcpy(out + out_bytes + n, "}\n", 2);
    out_bytes += n + 2;
}

static void take(char c, void (*command)(char *line))
{
    if (c != '\n') {
        if (in_bytes == sizeof in - 1) {
            too_long = true;
        } else {
            in[in_bytes++] = c;
        }
        return;
    }
    in[in_bytes] = 0;
    if (!too_long && in_bytes) {
        command(in);
    }
    in_bytes = 0;
    too_long = false;
}

void port_look(void (*command)(char *line))
{
    char bytes[256];
    ssize_t n;

    if (fd < 0) {
        if (where && now_ms() >= try_at_ms) {
            port_open(where);
        }
        return;
    }
    while ((n = read(fd, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            take(bytes[i], command);
        }
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        lost();
        return;
    }
    if (out_bytes) {
        n = write(fd, out, out_bytes);
        if (n > 0) {
            memmove(out, out + n, out_bytes - n);
            out_bytes -= n;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            lost();
        }
    }
}
