/*
 * us-guard: its file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "us-guard.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct at {
    const char *path;
    int line;
    char *error;
    size_t bytes;
};

__attribute__((format(printf, 2, 3))) static bool wrong(struct at *at, const char *format, ...)
{
    va_list args;
    int n = snprintf(at->error, at->bytes, "%s:%d: ", at->path, at->line);

    va_start(args, format);
    if (n >= 0 && (size_t)n < at->bytes) {
        vsnprintf(at->error + n, at->bytes - n, format, args);
    }
    va_end(args);
    return false;
}

static char *trim(char *text)
{
    char *end;

    while (isspace((unsigned char)*text)) {
        text++;
    }
    end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1])) {
        *--end = 0;
    }
    return text;
}

static bool copy(struct at *at, char *to, const char *value)
{
    if (*value == 0 || strlen(value) >= TEXT_BYTES) {
        return wrong(at, "a value must have from 1 to %d bytes", TEXT_BYTES - 1);
    }
    strcpy(to, value);
    return true;
}

static bool number(struct at *at, const char *key, const char *value, int least, int most, int *to)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(value, &end, 10);
    if (errno || end == value || *end || n < least || n > most) {
        return wrong(at, "%s must be a whole number from %d to %d", key, least, most);
    }
    *to = n;
    return true;
}

/* ADDRESS:PORT or [ADDRESS]:PORT, numbers only: names would be asked of somebody. */
static bool address(struct at *at, struct service *s, char *text)
{
    char *colon = strrchr(text, ':');
    struct sockaddr_in *v4 = (struct sockaddr_in *)&s->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s->address;
    int port;

    if (!colon) {
        return wrong(at, "\"%s\" must be ADDRESS:PORT", text);
    }
    *colon = 0;
    if (!number(at, "the port", colon + 1, 1, 65535, &port)) {
        return false;
    }
    if (!strcmp(text, "localhost")) {
        text = "127.0.0.1";
    }
    memset(&s->address, 0, sizeof s->address);
    if (*text == '[' && colon[-1] == ']') {
        colon[-1] = 0;
        if (inet_pton(AF_INET6, text + 1, &v6->sin6_addr) == 1) {
            v6->sin6_family = AF_INET6;
            v6->sin6_port = htons(port);
            s->address_bytes = sizeof *v6;
            return true;
        }
    } else if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        s->address_bytes = sizeof *v4;
        return true;
    }
    return wrong(at, "\"%s\" is no IP address (names are not looked up)", text);
}

/* http ADDRESS:PORT/PATH */
static bool http(struct at *at, struct service *s, char *text)
{
    char *slash = strchr(text, '/');
    int n;

    n = snprintf(s->send, sizeof s->send, "GET %s HTTP/1.0\r\nHost: %.*s\r\nConnection: close\r\n\r\n",
                 slash ? slash : "/", slash ? (int)(slash - text) : (int)strlen(text), text);
    if (n >= (int)sizeof s->send) {
        return wrong(at, "the path is too long");
    }
    s->send_bytes = n;
    if (slash) {
        *slash = 0;
    }
    return address(at, s, text);
}

static bool check(struct at *at, struct service *s, char *value)
{
    static const struct {
        const char *name;
        enum kind kind;
    } kinds[] = {
        { "process", CHECK_PROCESS }, { "pidfile", CHECK_PIDFILE }, { "tcp", CHECK_TCP },
        { "http", CHECK_HTTP },       { "command", CHECK_COMMAND },
    };
    char *rest = value + strcspn(value, " \t");

    if (*rest) {
        *rest++ = 0;
    }
    rest = trim(rest);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(value, kinds[i].name)) {
            continue;
        }
        if (s->kind != CHECK_NONE) {
            return wrong(at, "a service has one check");
        }
        s->kind = kinds[i].kind;
        if (!copy(at, s->target, rest)) {
            return false;
        }
        return s->kind == CHECK_TCP ? address(at, s, rest) : s->kind == CHECK_HTTP ? http(at, s, rest) : true;
    }
    return wrong(at, "\"%s\" is no kind of check: process, pidfile, tcp, http or command", value);
}

/* \r, \n, \t and \\ in what is sent. */
static size_t unescape(char *text)
{
    char *to = text;

    for (const char *from = text; *from; from++) {
        if (*from == '\\' && from[1]) {
            from++;
            *to++ = *from == 'r' ? '\r' : *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        } else {
            *to++ = *from;
        }
    }
    *to = 0;
    return to - text;
}

static bool service_key(struct at *at, struct service *s, const char *key, char *value)
{
    const struct {
        const char *name;
        int least, most, *to;
    } numbers[] = {
        { "interval_ms", 100, 3600000, &s->interval_ms },
        { "timeout_ms", 50, 600000, &s->timeout_ms },
        { "failures", 1, 1000, &s->failures },
        { "grace_ms", 0, 3600000, &s->grace_ms },
        { "restart_timeout_ms", 100, 3600000, &s->restart_timeout_ms },
        { "restarts", 0, RESTARTS_MAX, &s->restarts },
        { "within_s", 1, 86400, &s->within_s },
    };

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (!strcmp(key, numbers[i].name)) {
            return number(at, key, value, numbers[i].least, numbers[i].most, numbers[i].to);
        }
    }
    if (!strcmp(key, "check")) {
        return check(at, s, value);
    }
    if (!strcmp(key, "restart")) {
        return copy(at, s->restart, value);
    }
    if (!strcmp(key, "expect")) {
        return copy(at, s->expect, value) && (unescape(s->expect), true);
    }
    if (!strcmp(key, "send")) {
        if (!copy(at, s->send, value)) {
            return false;
        }
        s->send_bytes = unescape(s->send);
        return true;
    }
    if (!strcmp(key, "reset")) {
        s->reset = !strcmp(value, "yes");
        return s->reset || !strcmp(value, "no") || wrong(at, "reset must be yes or no");
    }
    return wrong(at, "there is no key \"%s\"", key);
}

static bool is_whole(struct at *at, const struct service *s)
{
    if (s->kind == CHECK_NONE) {
        return wrong(at, "[%s] needs a check", s->name);
    }
    if (s->kind != CHECK_TCP && (*s->expect || (s->kind != CHECK_HTTP && s->send_bytes))) {
        return wrong(at, "[%s]: send and expect are for a check by tcp", s->name);
    }
    return *s->restart != 0 || s->restarts == 0 ||
           wrong(at, "[%s] needs a restart, or restarts = 0", s->name);
}

static bool begin(struct at *at, struct conf *conf, char *name)
{
    struct service *s = &conf->services[conf->count];
    size_t bytes = strlen(name);

    if (conf->count == SERVICES_MAX) {
        return wrong(at, "at most %d services", SERVICES_MAX);
    }
    if (bytes == 0 || bytes > NAME_BYTES ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != bytes) {
        return wrong(at, "a name has letters, digits, \"_\", \".\" or \"-\", at most %d", NAME_BYTES);
    }
    for (int i = 0; i < conf->count; i++) {
        if (!strcmp(conf->services[i].name, name)) {
            return wrong(at, "[%s] is there twice", name);
        }
    }
    *s = (struct service){ .interval_ms = 1000, .timeout_ms = 1000, .failures = 3, .grace_ms = 5000,
                           .restart_timeout_ms = 30000, .restarts = 3, .within_s = 600,
                           .reset = true, .fd = -1 };
    strcpy(s->name, name);
    conf->count++;
    return true;
}

static bool line_of(struct at *at, struct conf *conf, char *line)
{
    char *equals = strchr(line, '=');
    char *key, *value;

    if (*line == '[') {
        size_t bytes = strlen(line);

        if (line[bytes - 1] != ']') {
            return wrong(at, "a service begins with [NAME]");
        }
        line[bytes - 1] = 0;
        return (conf->count == 0 || is_whole(at, &conf->services[conf->count - 1])) &&
               begin(at, conf, line + 1);
    }
    if (!equals) {
        return wrong(at, "\"%s\" is neither [NAME] nor KEY = VALUE", line);
    }
    *equals = 0;
    key = trim(line);
    value = trim(equals + 1);
    if (conf->count > 0) {
        return service_key(at, &conf->services[conf->count - 1], key, value);
    }
    if (!strcmp(key, "port")) {
        return copy(at, conf->port, value);
    }
    if (!strcmp(key, "report_ms")) {
        return number(at, key, value, 500, 60000, &conf->report_ms);
    }
    return wrong(at, "before the first [NAME] there are port and report_ms, not \"%s\"", key);
}

bool conf_read(const char *path, struct conf *conf, char *error, size_t bytes)
{
    struct at at = { path, 0, error, bytes };
    char line[TEXT_BYTES * 2];
    FILE *file = fopen(path, "re");
    bool ok = true;

    memset(conf, 0, sizeof *conf);
    strcpy(conf->port, "/dev/ttyS1");
    conf->report_ms = 1000;
    if (!file) {
        return wrong(&at, "%s", strerror(errno));
    }
    while (ok && fgets(line, sizeof line, file)) {
        char *text = trim(line);

        at.line++;
        if (*text && *text != '#') {
            ok = line_of(&at, conf, text);
        }
    }
    if (ok && ferror(file)) {
        ok = wrong(&at, "cannot be read");
    }
    fclose(file);
    if (ok && conf->count == 0) {
        ok = wrong(&at, "it has no [NAME] of a service");
    }
    return ok && is_whole(&at, &conf->services[conf->count - 1]);
}
