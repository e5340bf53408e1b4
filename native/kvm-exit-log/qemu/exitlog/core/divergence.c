/*
 * Exit log: replay did something that the log does not allow.
 *
 * Fatal for this replica.  The report has what the log expected beside what
 * the guest did, and where; the daemon shows it with the records around it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/state.h"

static Position last_equal = { .icount = -1 };

void exitlog_equal_up_to(Position p)
{
    last_equal = p;
}

/* {"icount":…,"vtimeNs":…} of the last digest that was equal, or null. */
static const char *last_equal_json(void)
{
    static char json[80];

    if (last_equal.icount < 0) {
        return "null";
    }
    snprintf(json, sizeof(json), "{\"icount\":%" PRId64 ",\"vtimeNs\":%" PRId64
             "}", last_equal.icount, last_equal.vtime_ns);
    return json;
}

void exitlog_diverge_with(const struct exitlog_record *expected,
                          const char *text, const char *members)
{
    Position p = exitlog_position();
    g_autofree char *escaped = g_strescape(text, NULL);
    char record[256] = "null";

    if (expected) {
        snprintf(record, sizeof(record),
                 "{\"ordinal\":%" PRIu64 ",\"icount\":%" PRIu64
                 ",\"vtimeNs\":%" PRId64 ",\"kind\":\"%s\",\"channel\":%u,"
                 "\"len\":%u,\"arg\":\"%" PRIu64 "\"}",
                 xl.shm->in.tail, expected->icount, expected->vtime_ns,
                 exitlog_record_name(expected->kind), expected->channel,
                 expected->len, expected->arg);
    }
    snprintf(xl.shm->error, sizeof(xl.shm->error),
             "{\"reason\":\"%s\",\"icount\":%" PRId64 ",\"vtimeNs\":%" PRId64
             ",\"expected\":%s,\"lastEqualDigest\":%s%s}", escaped, p.icount,
             p.vtime_ns, record, last_equal_json(), members);
    error_report("exitlog: divergence: %s", xl.shm->error);
    exitlog_set_state(EXITLOG_STATE_DIVERGED);
    _exit(10);
}

void exitlog_diverge(const struct exitlog_record *expected,
                     const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    exitlog_diverge_with(expected, text, "");
}
