/*
 * Exit log: replay did something that the log does not allow.
 *
 * Fatal for this replica.  The report has what the log expected beside what
 * the guest did, and where; the daemon shows it with the records around it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "internal.h"

const char *exitlog_kind_name(unsigned kind)
{
    static const char *const names[] = {
        [EXITLOG_NONE] = "none", [EXITLOG_NET_IN] = "netIn",
        [EXITLOG_CHAR_IN] = "charIn", [EXITLOG_BLK_DONE] = "blkDone",
        [EXITLOG_ENTROPY] = "entropy", [EXITLOG_POWERDOWN] = "powerdown",
        [EXITLOG_RESET] = "reset", [EXITLOG_NET_OUT] = "netOut",
        [EXITLOG_CHAR_OUT] = "charOut", [EXITLOG_DIGEST] = "digest",
        [EXITLOG_END] = "end", [EXITLOG_CLOCK] = "clock",
    };

    return kind < ARRAY_SIZE(names) ? names[kind] : "unknown";
}

void exitlog_diverge(const struct exitlog_record *expected,
                     const char *fmt, ...)
{
    Position p = exitlog_position();
    g_autofree char *text = NULL, *escaped = NULL;
    char record[256] = "null";
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    escaped = g_strescape(text, NULL);
    if (expected) {
        snprintf(record, sizeof(record),
                 "{\"ordinal\":%" PRIu64 ",\"icount\":%" PRIu64
                 ",\"vtimeNs\":%" PRId64 ",\"kind\":\"%s\",\"channel\":%u,"
                 "\"len\":%u,\"arg\":\"%" PRIu64 "\"}",
                 xl.shm->in.tail, expected->icount, expected->vtime_ns,
                 exitlog_kind_name(expected->kind), expected->channel,
                 expected->len, expected->arg);
    }
    snprintf(xl.shm->error, sizeof(xl.shm->error),
             "{\"reason\":\"%s\",\"icount\":%" PRId64 ",\"vtimeNs\":%" PRId64
             ",\"expected\":%s}", escaped, p.icount, p.vtime_ns, record);
    error_report("exitlog: divergence: %s", xl.shm->error);
    exitlog_set_state(EXITLOG_STATE_DIVERGED);
    _exit(10);
}
