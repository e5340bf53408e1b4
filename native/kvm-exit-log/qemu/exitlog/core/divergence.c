/*
 * Exit log: replay did something that the log does not allow.
 *
 * Fatal for this replica.  The report has what the log expected beside what
 * the guest did, and where; the daemon shows it with the records around it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "exitlog/internal.h"

const char *exitlog_kind_name(unsigned kind)
{
    static const char *const names[] = {
        [EXITLOG_NONE] = "none", [EXITLOG_NET_IN] = "netIn",
        [EXITLOG_CHAR_IN] = "charIn", [EXITLOG_BLK_DONE] = "blkDone",
        [EXITLOG_ENTROPY] = "entropy", [EXITLOG_POWERDOWN] = "powerdown",
        [EXITLOG_RESET] = "reset", [EXITLOG_NET_OUT] = "netOut",
        [EXITLOG_CHAR_OUT] = "charOut", [EXITLOG_DIGEST] = "digest",
        [EXITLOG_END] = "end", [EXITLOG_CLOCK] = "clock",
        [EXITLOG_CHECKPOINT] = "checkpoint", [EXITLOG_BLK_DATA] = "blkData",
    };

    return kind < ARRAY_SIZE(names) ? names[kind] : "unknown";
}

/* {"icount":…,"vtimeNs":…} of the last digest that was equal, or null. */
static const char *last_equal_json(void)
{
    static char json[80];
    Position p = exitlog_last_equal_digest();

    if (p.icount < 0) {
        return "null";
    }
    snprintf(json, sizeof(json), "{\"icount\":%" PRId64 ",\"vtimeNs\":%" PRId64
             "}", p.icount, p.vtime_ns);
    return json;
}

/* digests: "" or more members of the report, each after a comma. */
static G_NORETURN void diverge(const struct exitlog_record *expected,
                               const char *text, const char *digests)
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
                 exitlog_kind_name(expected->kind), expected->channel,
                 expected->len, expected->arg);
    }
    snprintf(xl.shm->error, sizeof(xl.shm->error),
             "{\"reason\":\"%s\",\"icount\":%" PRId64 ",\"vtimeNs\":%" PRId64
             ",\"expected\":%s,\"lastEqualDigest\":%s%s}", escaped, p.icount,
             p.vtime_ns, record, last_equal_json(), digests);
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
    diverge(expected, text, "");
}

/* One part per line of the report: all of them are compared, not the first. */
void exitlog_diverge_digest(const struct exitlog_record *r,
                            const struct exitlog_digest *expected,
                            const struct exitlog_digest *actual)
{
    const struct {
        const char *key, *name;
        uint64_t expected, actual;
    } parts[] = {
        { "cpu", "the CPU", expected->cpu, actual->cpu },
        { "ram", "RAM", expected->ram, actual->ram },
        { "devices", "devices", expected->devices, actual->devices },
        { "outputs", "outputs", expected->outputs, actual->outputs },
        { "outputsCount", "the number of outputs", expected->outputs_count,
          actual->outputs_count },
    };
    g_autoptr(GString) text = g_string_new("digest of ");
    g_autoptr(GString) json = g_string_new(",\"parts\":{");
    const char *comma = "", *between = "";

    for (int i = 0; i < ARRAY_SIZE(parts); i++) {
        if (parts[i].expected == parts[i].actual) {
            continue;
        }
        g_string_append_printf(text, "%s%s", between, parts[i].name);
        g_string_append_printf(json, "%s\"%s\":[\"%016" PRIx64 "\",\"%016"
                               PRIx64 "\"]", comma, parts[i].key,
                               parts[i].expected, parts[i].actual);
        comma = ",";
        between = ", ";
    }
    g_string_append(text, " differs");
    g_string_append_c(json, '}');
    diverge(r, text->str, json->str);
}
