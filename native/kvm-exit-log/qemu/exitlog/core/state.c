/*
 * Exit log: the state of this process, and what the daemon is told of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "hw/core/cpu.h"
#include "system/runstate.h"
#include "exitlog/core/state.h"

bool exitlog_enabled;
bool exitlog_is_exact;
Exitlog xl;

static bool out_half_full(void)
{
    struct exitlog_shm *shm = xl.shm;

    return shm->out.head - qatomic_read(&shm->out.tail) >
               shm->record_slots / 2 ||
           shm->out.data_head - qatomic_read(&shm->out.data_tail) >
               shm->data_bytes / 2;
}

static void signal_daemon(void)
{
    uint64_t one = 1;
    ssize_t ignored = write(xl.notify_fd, &one, sizeof(one));

    (void)ignored; /* EAGAIN: it is signalled already */
}

void exitlog_notify_at_once(void)
{
    smp_mb(); /* as below */
    if (qatomic_read(&xl.shm->daemon_sleeping) != EXITLOG_AWAKE) {
        signal_daemon();
    }
}

void exitlog_notify(void)
{
    enum exitlog_news news = xl.news;
    uint32_t sleeping;

    xl.news = EXITLOG_NEWS_INPUT;
    smp_mb(); /* pairs with the daemon's: set daemon_sleeping, look again */
    sleeping = qatomic_read(&xl.shm->daemon_sleeping);
    if (sleeping == EXITLOG_AWAKE) {
        return;
    }
    if (sleeping == EXITLOG_SLEEPS || news == EXITLOG_NEWS_PACKET ||
        (sleeping == EXITLOG_SLEEPS_OUTPUTS &&
         news == EXITLOG_NEWS_CONSOLE) || out_half_full()) {
        signal_daemon();
    }
}

void exitlog_set_state(enum exitlog_state state)
{
    qatomic_store_release(&xl.shm->state, state);
    xl.news = EXITLOG_NEWS_PACKET;
    exitlog_notify();
}

void exitlog_is_alive(void)
{
    qatomic_set(&xl.shm->visits, xl.shm->visits + 1);
}

void exitlog_fail(const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_report("exitlog: %s", text);
    if (xl.shm) {
        g_autofree char *json = g_strescape(text, NULL);
        snprintf(xl.shm->error, sizeof(xl.shm->error),
                 "{\"reason\":\"%s\"}", json);
        exitlog_set_state(EXITLOG_STATE_FAILED);
    }
    _exit(1);
}

void exitlog_refuse(const char *what)
{
    exitlog_fail("not yet exact: %s", what);
}

/* One vCPU parked, for a reset or the end: none may run. */
bool exitlog_running(CPUState *unused)
{
    CPUState *cpu;

    if (xl.ended || !(runstate_is_running() || xl.suspended)) {
        return false;
    }
    CPU_FOREACH(cpu) {
        if (cpu->stop || cpu->stopped) {
            return false;
        }
    }
    return true;
}
