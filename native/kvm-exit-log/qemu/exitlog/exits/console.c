/*
 * Exit log: serial ports: the console, and the guard's.
 *
 * Chardevs of our own, "console0" and "console1", which a VM may be without.
 * Output always succeeds, so the UART's retry timers never run; bytes gather
 * until the next visit and become one CHAR_OUT record.  The daemon shows, or
 * reads, them after the acknowledgement.  A replay compares them with the log,
 * byte by byte.
 *
 * What is typed waits here for room in the UART, each port for itself: a port
 * that nobody in the guest reads must not keep what comes after it, the reset
 * button above all.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "chardev/char.h"
#include "chardev/char-fe.h"
#include "qapi/error.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/console.h"

#define TYPE_CHARDEV_EXITLOG "chardev-exitlog"
#define FLUSH_BYTES 4096
#define TYPED_BYTES 4096

typedef struct Port {
    Chardev *chr;
    GByteArray *printed; /* not yet in a record, or not yet matched */
    GByteArray *typed;   /* live: not yet in the guest */
} Port;

static Port ports[EXITLOG_CONSOLES];

static void flush_port(Port *p)
{
    if (p->printed->len) {
        exitlog_emit(EXITLOG_CHAR_OUT, p - ports, p->printed->len, 0,
                     p->printed->data);
        g_byte_array_set_size(p->printed, 0);
    }
}

static void flush(void)
{
    for (int i = 0; i < EXITLOG_CONSOLES; i++) {
        flush_port(&ports[i]);
    }
}

static Port *port_of(Chardev *chr)
{
    int i = 0;

    while (ports[i].chr != chr) {
        i++;
    }
    return &ports[i];
}

static int console_write(Chardev *chr, const uint8_t *buf, int len)
{
    if (!xl.ended) {
        Port *p = port_of(chr);

        g_byte_array_append(p->printed, buf, len);
        if (xl.live && p->printed->len >= FLUSH_BYTES) {
            flush_port(p);
        } else if (!exitlog_exact()) {
            exitlog_kick(); /* for the visit that makes a record of it */
        }
    }
    return len;
}

static void console_open(Chardev *chr, ChardevBackend *backend,
                         bool *be_opened, Error **errp)
{
    *be_opened = true;
}

static void console_class_init(ObjectClass *oc, void *data)
{
    ChardevClass *cc = CHARDEV_CLASS(oc);

    cc->internal = true;
    cc->open = console_open;
    cc->chr_write = console_write;
}

static const TypeInfo console_type = {
    .name = TYPE_CHARDEV_EXITLOG,
    .parent = TYPE_CHARDEV,
    .class_init = console_class_init,
};

static void register_types(void)
{
    type_register_static(&console_type);
}
type_init(register_types);

static void create(void)
{
    for (int i = 0; i < EXITLOG_CONSOLES; i++) {
        g_autofree char *name = g_strdup_printf("console%d", i);

        ports[i].printed = g_byte_array_new();
        ports[i].typed = g_byte_array_new();
        ports[i].chr = qemu_chardev_new(name, TYPE_CHARDEV_EXITLOG, NULL, NULL,
                                        &error_fatal);
    }
}

/* A replay's record names the port: the log may be anybody's. */
static Port *port_in(const struct exitlog_record *r)
{
    if (r->channel >= EXITLOG_CONSOLES) {
        exitlog_diverge(r, "console %u: there are only %d", r->channel,
                        EXITLOG_CONSOLES);
    }
    return &ports[r->channel];
}

bool exitlog_console_match(const struct exitlog_record *r)
{
    g_autofree uint8_t *expected = NULL;
    GByteArray *printed = port_in(r)->printed;

    if (printed->len < r->len) {
        return false;
    }
    expected = g_malloc(r->len);
    exitlog_payload(r, expected);
    for (uint32_t i = 0; i < r->len; i++) {
        if (expected[i] != printed->data[i]) {
            uint32_t from = i > 20 ? i - 20 : 0;
            g_autofree char *e = g_strndup((char *)expected + from,
                                           MIN(40, r->len - from));
            g_autofree char *a = g_strndup((char *)printed->data + from,
                                           MIN(40, printed->len - from));
            exitlog_diverge(r, "console output differs at byte %u of the "
                            "record: expected '%s', actual '%s'", i, e, a);
        }
    }
    g_byte_array_remove_range(printed, 0, r->len);
    exitlog_consume();
    return true;
}

/* Bytes that this port has and the guest takes now. */
static uint32_t ready(const Port *p)
{
    int room = p->typed->len ? qemu_chr_be_can_write(p->chr) : 0;

    return room > 0 ? MIN(room, p->typed->len) : 0;
}

bool exitlog_console_pending(void)
{
    for (int i = 0; i < EXITLOG_CONSOLES; i++) {
        if (ready(&ports[i])) {
            return true;
        }
    }
    return false;
}

bool exitlog_console_takes(const struct exitlog_record *c)
{
    uint32_t waits;

    if (c->channel >= EXITLOG_CONSOLES) {
        return true; /* and drops it */
    }
    waits = ports[c->channel].typed->len;
    return waits == 0 || waits + c->len <= TYPED_BYTES;
}

void exitlog_console_take(const struct exitlog_record *c)
{
    if (c->channel < EXITLOG_CONSOLES) {
        GByteArray *typed = ports[c->channel].typed;
        guint at = typed->len;

        g_byte_array_set_size(typed, at + c->len);
        exitlog_payload(c, typed->data + at);
    }
    exitlog_consume();
}

bool exitlog_console_inject(void)
{
    for (int i = 0; i < EXITLOG_CONSOLES; i++) {
        GByteArray *typed = ports[i].typed;
        uint32_t len = ready(&ports[i]);

        if (len) {
            exitlog_emit(EXITLOG_CHAR_IN, i, len, 0, typed->data);
            qemu_chr_be_write(ports[i].chr, typed->data, len);
            g_byte_array_remove_range(typed, 0, len);
            return true;
        }
    }
    return false;
}

void exitlog_console_forget(void)
{
    g_byte_array_set_size(ports[EXITLOG_CONSOLE_GUARD].typed, 0);
}

static void apply(const struct exitlog_record *r)
{
    g_autofree uint8_t *data = g_malloc(r->len);

    exitlog_payload(r, data);
    qemu_chr_be_write(port_in(r)->chr, data, r->len);
}

static const ExitlogRecordKind records[] = {
    { .kind = EXITLOG_CHAR_IN, .name = "charIn", .apply = apply },
    { .kind = EXITLOG_CHAR_OUT, .name = "charOut",
      .match = exitlog_console_match },
    { /* end of list */ }
};

const ExitlogExit exitlog_console_exit = {
    .records = records,
    .create = create,
    .flush = flush,
};
