/*
 * Exit log: faults on purpose, for tests of what is to notice them.
 *
 *   -exitlog …,fault=flip:ICOUNT:GPA:BIT     one bit of guest memory changes
 *   -exitlog …,fault=skip:ORDINAL            a record is not applied
 *   -exitlog …,fault=late:ORDINAL:N          an input comes N instructions late
 *   -exitlog …,fault=short:ORDINAL:BYTES     a record has another length
 *   -exitlog …,fault=offthread:ICOUNT:WHAT   the main thread raises an
 *                                            "interrupt" or writes "memory"
 *   -exitlog …,fault=copy:WRITER[:unhooked]  fault-copy.c
 *   -exitlog …,fault=escape:ICOUNT           fault-escape.c
 *
 * Only a replay can be given the first four: no recording and no primary is
 * ever wrong on purpose.  The fifth ends the process (tripwire.c), the next
 * makes an image of a live VM wrong, the last does what a guest that has taken
 * this process over would do.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/error-report.h"
#include "cpu.h"
#include "exec/cpu-common.h"
#include "qemu/cutils.h"
#include "exitlog/accel/accel.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/verify/fault.h"
#include "exitlog/verify/fault-copy.h"
#include "exitlog/verify/fault-escape.h"

static enum { NONE, FLIP, SKIP, LATE, SHORT, OFFTHREAD, ESCAPE } fault;
static uint64_t at;      /* FLIP, OFFTHREAD, ESCAPE: icount; SKIP, LATE, SHORT: ordinal */
static uint64_t gpa;
static uint64_t amount;  /* FLIP: bit; LATE: instructions; SHORT: bytes */
static bool interrupts;  /* OFFTHREAD */

static uint64_t number(const char *text)
{
    uint64_t value;

    if (!text || qemu_strtou64(text, NULL, 0, &value) < 0) {
        exitlog_fail("fault: '%s' is no number", text ? text : "");
    }
    return value;
}

void exitlog_fault_configure(const char *spec)
{
    g_auto(GStrv) words = spec ? g_strsplit(spec, ":", 0) : NULL;
    unsigned count = words ? g_strv_length(words) : 0;

    if (!spec) {
        return;
    }
    if (!strcmp(words[0], "copy")) {
        exitlog_fault_copy_configure(count > 1 ? words[1] : "",
                                     count == 3 && !strcmp(words[2], "unhooked"));
        return;
    }
    if (!exitlog_exact()) {
        exitlog_fail("inputs=off: no fault=%s", spec);
    }
    if (count == 4 && !strcmp(words[0], "flip")) {
        fault = FLIP;
        gpa = number(words[2]);
        amount = number(words[3]) & 7;
    } else if (count == 2 && !strcmp(words[0], "skip")) {
        fault = SKIP;
    } else if (count == 3 && !strcmp(words[0], "late")) {
        fault = LATE;
        amount = number(words[2]);
    } else if (count == 3 && !strcmp(words[0], "short")) {
        fault = SHORT;
        amount = number(words[2]);
    } else if (count == 3 && !strcmp(words[0], "offthread") &&
               (!strcmp(words[2], "interrupt") ||
                !strcmp(words[2], "memory"))) {
        fault = OFFTHREAD;
        interrupts = words[2][0] == 'i';
    } else if (count == 2 && !strcmp(words[0], "escape")) {
        fault = ESCAPE;
    } else {
        exitlog_fail("fault=%s is not known", spec);
    }
    at = number(words[1]);
    if (xl.live && fault != OFFTHREAD && fault != ESCAPE) {
        exitlog_fail("fault=%s is only for mode=replay", spec);
    }
    warn_report("exitlog: will do wrong on purpose: fault=%s", spec);
}

static void touch_off_thread(void *unused)
{
    uint8_t byte = 0;

    if (interrupts) {
        cpu_interrupt(first_cpu, CPU_INTERRUPT_HARD);
    } else {
        cpu_physical_memory_write(0x1000, &byte, 1);
    }
}

int64_t exitlog_fault_visit(int64_t icount)
{
    uint8_t byte;

    if (fault != FLIP && fault != OFFTHREAD && fault != ESCAPE) {
        return INT64_MAX;
    }
    if (icount < (int64_t)at) {
        return at;
    }
    if (fault == FLIP) {
        cpu_physical_memory_read(gpa, &byte, 1);
        byte ^= 1u << amount;
        cpu_physical_memory_write(gpa, &byte, 1);
    } else if (fault == ESCAPE) {
        exitlog_fault_escape();
    } else {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), touch_off_thread, NULL);
    }
    fault = NONE;
    return INT64_MAX;
}

bool exitlog_fault_record(struct exitlog_record *r)
{
    Position now = exitlog_position();

    if (fault != SKIP && fault != LATE && fault != SHORT) {
        return true;
    }
    if (xl.shm->in.tail != at) {
        return true;
    }
    if (fault == SKIP) {
        fault = NONE;
        exitlog_consume();
        return false;
    }
    if (fault == SHORT) {
        r->len = amount;
        return true;
    }
    r->icount += amount;
    r->vtime_ns += exitlog_icount_to_ns(amount);
    if (now.icount >= (int64_t)r->icount) {
        /* Here, or at the next position that is clean. */
        r->icount = now.icount + !exitlog_clean();
        r->vtime_ns = now.vtime_ns;
    }
    return true;
}
