/*
 * Exit log: the serial console.
 *
 * A chardev of our own, "console0".  Output always succeeds, so the UART's
 * retry timers never run; bytes gather until the next visit and become one
 * CHAR_OUT record.  The daemon shows them after the acknowledgement.  A replay
 * compares them with the log, byte by byte.
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

static Chardev *console;
static GByteArray *printed; /* not yet in a record, or not yet matched */

static void flush(void)
{
    if (printed->len) {
        exitlog_emit(EXITLOG_CHAR_OUT, 0, printed->len, 0, printed->data);
        g_byte_array_set_size(printed, 0);
    }
}

static int console_write(Chardev *chr, const uint8_t *buf, int len)
{
    if (!xl.ended) {
        g_byte_array_append(printed, buf, len);
        if (xl.live && printed->len >= FLUSH_BYTES) {
            flush();
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
    printed = g_byte_array_new();
    console = qemu_chardev_new("console0", TYPE_CHARDEV_EXITLOG, NULL, NULL,
                               &error_fatal);
}

bool exitlog_console_match(const struct exitlog_record *r)
{
    g_autofree uint8_t *expected = NULL;

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

int exitlog_console_room(uint16_t channel)
{
    return channel == 0 ? qemu_chr_be_can_write(console) : 0;
}

void exitlog_console_type(const uint8_t *data, uint32_t len)
{
    qemu_chr_be_write(console, data, len);
}

static void apply(const struct exitlog_record *r)
{
    g_autofree uint8_t *data = g_malloc(r->len);

    exitlog_payload(r, data);
    exitlog_console_type(data, r->len);
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
