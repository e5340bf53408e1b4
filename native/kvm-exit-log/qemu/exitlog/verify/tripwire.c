/*
 * Exit log: the tripwire.
 *
 * An interrupt raised or guest memory written by another thread than the
 * vCPU's has no position: the recording would be wrong from here on without a
 * sign of it.  Better no recording.  Also in release builds.
 *
 * While the vCPU is parked (a reset, the end) other threads may.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "hw/core/cpu.h"
#include "system/cpus.h"
#include "exitlog/core/state.h"
#include <execinfo.h>

#define FRAMES_MAX 40

void exitlog_touched(const char *what)
{
    void *frames[FRAMES_MAX];
    char name[16] = "?";
    int count;

    if (likely(qemu_in_vcpu_thread()) || !first_cpu ||
        !exitlog_running(first_cpu)) {
        return;
    }
    pthread_getname_np(pthread_self(), name, sizeof(name));
    error_report("exitlog: tripwire: %s by thread '%s' while the guest runs, "
                 "at icount %" PRIu64 " or after", what, name,
                 qatomic_read(&xl.shm->icount));
    count = backtrace(frames, FRAMES_MAX);
    backtrace_symbols_fd(frames, count, STDERR_FILENO);
    snprintf(xl.shm->error, sizeof(xl.shm->error),
             "{\"reason\":\"tripwire: %s by thread '%s' while the guest runs: "
             "the recording would not be exact\"}", what, name);
    exitlog_set_state(EXITLOG_STATE_FAILED);
    abort();
}
