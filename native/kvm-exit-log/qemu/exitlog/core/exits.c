/*
 * Exit log: all kinds of exit, one after the other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exitlog/core/exits.h"

#define RECORD_KINDS_MAX 32

static const ExitlogExit *const none[] = { NULL };
static const ExitlogExit *const *exits = none;
static const ExitlogRecordKind *record_kinds[RECORD_KINDS_MAX];

#define FOREACH(e) \
    for (const ExitlogExit *const *at = exits, *e; (e = *at) != NULL; at++)

void exitlog_exits_register(const ExitlogExit *const *table)
{
    exits = table;
    FOREACH(e) {
        for (const ExitlogRecordKind *k = e->records; k->name; k++) {
            assert(k->kind < RECORD_KINDS_MAX && !record_kinds[k->kind]);
            record_kinds[k->kind] = k;
        }
    }
}

const ExitlogRecordKind *exitlog_record_kind(unsigned kind)
{
    return kind < RECORD_KINDS_MAX ? record_kinds[kind] : NULL;
}

const char *exitlog_record_name(unsigned kind)
{
    const ExitlogRecordKind *k = exitlog_record_kind(kind);

    return k ? k->name : kind == EXITLOG_NONE ? "none" : "unknown";
}

void exitlog_exits_create(void)
{
    FOREACH(e) {
        if (e->create) {
            e->create();
        }
    }
}

void exitlog_exits_start(void)
{
    FOREACH(e) {
        if (e->start) {
            e->start();
        }
    }
}

void exitlog_exits_visit(void)
{
    FOREACH(e) {
        if (e->visit) {
            e->visit();
        }
    }
}

bool exitlog_exits_steer(void)
{
    bool moved = false;

    FOREACH(e) {
        if (e->steer) {
            moved |= e->steer();
        }
    }
    return moved;
}

bool exitlog_exits_due(int64_t now_ns, int64_t vtime_ns)
{
    FOREACH(e) {
        if (e->due && e->due(now_ns, vtime_ns)) {
            return true;
        }
    }
    return false;
}

bool exitlog_exits_pending(void)
{
    FOREACH(e) {
        if (e->pending && e->pending()) {
            return true;
        }
    }
    return false;
}

bool exitlog_exits_inject(void)
{
    FOREACH(e) {
        if (e->inject && e->inject()) {
            return true;
        }
    }
    return false;
}

void exitlog_exits_flush(void)
{
    FOREACH(e) {
        if (e->flush) {
            e->flush();
        }
    }
}

bool exitlog_exits_full(void)
{
    FOREACH(e) {
        if (e->is_full && e->is_full()) {
            return true;
        }
    }
    return false;
}

bool exitlog_exits_drained(void)
{
    FOREACH(e) {
        if (e->has_drained && !e->has_drained()) {
            return false;
        }
    }
    return true;
}

const char *exitlog_exits_unquiet(void)
{
    FOREACH(e) {
        const char *why = e->unquiet ? e->unquiet() : NULL;

        if (why) {
            return why;
        }
    }
    return NULL;
}

bool exitlog_exits_finish_one(void)
{
    FOREACH(e) {
        if (e->finish_one && e->finish_one()) {
            return true;
        }
    }
    return false;
}

void exitlog_exits_end(void)
{
    FOREACH(e) {
        if (e->end) {
            e->end();
        }
    }
}

/* From the last to the first: packets leave before disks are flushed. */
void exitlog_exits_go_live(void)
{
    const ExitlogExit *const *at = exits;

    while (*at) {
        at++;
    }
    while (at != exits) {
        at--;
        if ((*at)->go_live) {
            (*at)->go_live();
        }
    }
}
