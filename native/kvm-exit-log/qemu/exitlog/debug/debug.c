/*
 * Exit log: a replay under a debugger.
 *
 * -exitlog mode=replay,…,debug=on, and -gdb.  QEMU's gdbstub answers what is asked of
 * registers and memory; how the guest runs is said by a packet of our own:
 *
 *   QUnderstudy.run:MODE,ICOUNT,PHASE   run to that position.  MODE: "stop" at the
 *                                       first break- or watchpoint before it, "list"
 *                                       them and go on, or "pass" over them
 *   QUnderstudy.pause                   stop where it is
 *   QUnderstudy.physical:…              where watchpoints are in physical memory, for
 *                                       what devices write (debug-writes.c)
 *   QUnderstudy.translate:ADDR          an address of the current vCPU, as a physical one
 *
 * run is answered when the guest has stopped (stopped(), below), pause by that answer.
 *
 * The VM is never stopped as QEMU stops one, nor single-stepped: devices would be told,
 * and code would run otherwise than it was recorded.  The vCPU thread waits at a visit,
 * which by itself changes nothing, and a step is a run to the next position.
 *
 * A position here is (icount, phase).  Phase tells states at one icount apart: twice the
 * exceptions and interrupts delivered since the last instruction, and one less before what
 * devices do there: -1 is right after an instruction, 0 when all inputs of that icount have
 * been injected.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "exec/gdbstub.h"
#include "gdbstub/commands.h"
#include "hw/core/cpu.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/state.h"
#include "exitlog/debug/debug.h"
#include "exitlog/debug/debug-hits.h"
#include "exitlog/debug/debug-writes.h"

/* The answer to run, in the main loop.  The guest waits, so nothing moves. */
static void answer(void *reason)
{
    g_autoptr(GString) text = g_string_new(NULL);
    Position now = exitlog_position();
    CPUState *cpu = exitlog_current_cpu();

    g_string_printf(text, "Understudy:%s,%" PRId64 ",%" PRId64 ",%d,%d,%" PRIu64,
                    (const char *)reason, now.icount, now.vtime_ns,
                    exitlog_debug_phase_at(now.icount) - xd.before,
                    cpu->cpu_index, exitlog_debug_listed());
    if (xd.hit.kind) {
        exitlog_debug_put_hit(text, &xd.hit);
    }
    exitlog_debug_put_list(text);
    gdb_set_stop_cpu(cpu);
    gdb_put_packet(text->str);
}

static bool has_arrived(int64_t icount)
{
    return icount > xd.icount || (icount == xd.icount &&
                                  exitlog_debug_phase_at(icount) >= xd.phase);
}

static const char *reason_to_stop(Position now)
{
    if (xd.at_end) {
        return "end";
    }
    /* A watchpoint is told after the access; what devices did at a visit is done. */
    if (xd.hit.kind && (xd.hit.kind == 'b' || now.icount > xd.hit.icount ||
                        xd.hit.phase % 2)) {
        return "hit";
    }
    if (has_arrived(now.icount)) {
        return "there";
    }
    return qatomic_read(&xd.pause) ? "pause" : NULL;
}

static void stop(const char *reason)
{
    xd.running = false;
    qatomic_set(&exitlog_debug_phase, false);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), answer, (void *)reason);
}

bool exitlog_debug_holds_before(void)
{
    if (!exitlog_debug_on || !xd.running) {
        return xd.before;
    }
    if (xd.phase % 2 && has_arrived(exitlog_icount())) {
        xd.before = true;
        stop("there");
    }
    return xd.before;
}

bool exitlog_debug_holds(Position now)
{
    const char *reason;

    if (!exitlog_debug_on || !xd.running) {
        return exitlog_debug_on;
    }
    reason = reason_to_stop(now);
    if (reason) {
        stop(reason);
    }
    return reason != NULL;
}

int64_t exitlog_debug_stop(int64_t icount)
{
    if (!exitlog_debug_on) {
        return INT64_MAX;
    }
    if (xd.hit.kind) {
        return icount + 1; /* the access itself */
    }
    return icount < xd.icount ? xd.icount : icount + 1;
}

void exitlog_debug_end(void)
{
    xd.at_end = true;
}

bool exitlog_debug_ended(void)
{
    return xd.at_end;
}

static void handle_run(GArray *params, void *unused)
{
    g_auto(GStrv) words = NULL;
    int64_t icount;
    int phase;

    words = g_strsplit(params->len ? gdb_get_cmd_param(params, 0)->data : "",
                       ",", 0);
    if (xd.running || g_strv_length(words) != 3 ||
        qemu_strtoi64(words[1], NULL, 10, &icount) ||
        qemu_strtoi(words[2], NULL, 10, &phase)) {
        gdb_put_packet("E22");
        return;
    }
    exitlog_debug_forget_list();
    xd.hit = (DebugHit) { 0 };
    xd.mode = words[0][0];
    xd.icount = icount;
    xd.phase = phase;
    xd.from_icount = exitlog_icount();
    xd.from_phase = exitlog_debug_phase_at(xd.from_icount) - xd.before;
    xd.before = false;
    qatomic_set(&xd.pause, false);
    qatomic_set(&exitlog_debug_phase, phase > 0);
    xd.running = true;
    exitlog_kick();
}

static void handle_pause(GArray *params, void *unused)
{
    qatomic_set(&xd.pause, true);
    exitlog_kick();
}

static void handle_physical(GArray *params, void *unused)
{
    const char *text = params->len ? gdb_get_cmd_param(params, 0)->data : "";

    gdb_put_packet(!xd.running && exitlog_debug_physical(text) ? "OK" : "E22");
}

static void handle_translate(GArray *params, void *unused)
{
    g_autofree char *text = NULL;
    uint64_t addr;
    int64_t physical;

    if (xd.running || !params->len ||
        qemu_strtou64(gdb_get_cmd_param(params, 0)->data, NULL, 16, &addr)) {
        gdb_put_packet("E22");
        return;
    }
    physical = exitlog_debug_translate(addr);
    text = physical < 0 ? g_strdup("Understudy:none")
                        : g_strdup_printf("Understudy:%" PRIx64, physical);
    gdb_put_packet(text);
}

static const GdbCmdParseEntry commands[] = {
    {
        .handler = handle_run,
        .cmd = "Understudy.run:",
        .cmd_startswith = true,
        .schema = "s0",
    },
    {
        .handler = handle_physical,
        .cmd = "Understudy.physical:",
        .cmd_startswith = true,
        .schema = "s0",
    },
    {
        .handler = handle_translate,
        .cmd = "Understudy.translate:",
        .cmd_startswith = true,
        .schema = "s0",
    },
    {
        .handler = handle_pause,
        .cmd = "Understudy.pause",
    },
};

void exitlog_debug_configure(bool on)
{
    g_autoptr(GPtrArray) table = g_ptr_array_new();

    if (!on) {
        return;
    }
    if (xl.live) {
        exitlog_fail("debug=on is only for mode=replay");
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        g_ptr_array_add(table, (gpointer)&commands[i]);
    }
    gdb_extend_set_table(table);
    exitlog_debug_on = true;
}
