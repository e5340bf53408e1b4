/*
 * Exit log: the vCPU thread sleeps, and is woken.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_KICK_H
#define EXITLOG_CORE_KICK_H

#include "exitlog/exitlog.h" /* exitlog_kick() */
#include "exitlog/core/waiting.h"

/* Any thread: a vCPU that executes is to make a visit, and nothing else. */
void exitlog_nudge(void);
/* Sleep until kicked, or for timeout_ns (-1: no limit), without the BQL. */
void exitlog_vcpu_wait(int64_t timeout_ns);
/* Wait for the daemon to feed, to acknowledge, or to raise a bound. */
void exitlog_wait_for_daemon(const DaemonSide *seen);

/* The io thread (exits/io-thread.c) is to look at its queues. */
void exitlog_io_wake(void);
/* The descriptor that it polls for that. */
int exitlog_io_wake_fd(void);

#endif
