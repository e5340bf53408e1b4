/*
 * Exit log: digests in the middle of a log.
 *
 * A running VM logs one at power-on, before its first instruction, and one at
 * the first clean position after each multiple of `digest-every` instructions;
 * the record has the position, so a replay makes its own there and compares.  A
 * difference is a divergence, somewhere between the last digest that was equal
 * and this one; at power-on it is something of the host that reached the guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/ring.h"
#include "exitlog/verify/digest.h"
#include "exitlog/verify/periodic.h"
#include "exitlog/verify/probe.h"
#include "exitlog/verify/ram-digest.h"

static int64_t every; /* 0: none */
static int64_t next = INT64_MAX;
static bool begun;    /* memory was hashed as a whole */

void exitlog_digest_schedule(int64_t icount)
{
    begun |= icount > 0;
    next = every ? (icount / every + 1) * every : INT64_MAX;
}

void exitlog_digest_configure(int64_t instructions)
{
    every = instructions;
    next = every ? 0 : INT64_MAX;
}

int64_t exitlog_digest_stop(int64_t icount)
{
    /* Due, but not at this position, which is not clean: at the next. */
    return next <= icount ? icount + 1 : next;
}

void exitlog_digest_begin(void)
{
    if (every && !begun) {
        begun = true;
        exitlog_ram_digest();
    }
}

void exitlog_digest_visit(void)
{
    int64_t icount = exitlog_icount();
    struct exitlog_digest d;

    exitlog_digest_begin();
    if (icount < next || !exitlog_clean()) {
        return;
    }
    d = exitlog_digest();
    exitlog_emit(EXITLOG_DIGEST, EXITLOG_DIGEST_PERIODIC, sizeof(d), 0, &d);
    exitlog_digest_schedule(icount);
}

/* One part per line of the report: all of them are compared, not the first. */
static G_NORETURN void differs(const struct exitlog_record *r,
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

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
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
    exitlog_diverge_with(r, text->str, json->str);
}

void exitlog_digest_compare(const struct exitlog_record *r,
                            const struct exitlog_digest *actual)
{
    struct exitlog_digest expected;

    if (r->len != sizeof(expected)) {
        exitlog_diverge(r, "a digest of %u bytes", r->len);
    }
    exitlog_payload(r, &expected);
    if (memcmp(&expected, actual, sizeof(expected))) {
        exitlog_probe_before_end(exitlog_position());
        differs(r, &expected, actual);
    }
    exitlog_equal_up_to(exitlog_position());
}

void exitlog_digest_replay(const struct exitlog_record *r)
{
    struct exitlog_digest actual = exitlog_digest();

    exitlog_digest_compare(r, &actual);
    exitlog_consume();
    exitlog_digest_schedule(r->icount);
}
