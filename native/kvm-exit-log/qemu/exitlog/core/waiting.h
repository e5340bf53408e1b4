/*
 * Exit log: sleeping until the daemon does something.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_WAITING_H
#define EXITLOG_CORE_WAITING_H

/* What the daemon may have changed since it was looked at. */
typedef struct DaemonSide {
    uint64_t in_head;
    uint64_t out_tail;
    uint64_t out_data_tail;
    uint64_t state_tail;
    uint64_t commit;
    uint64_t icount_max;
    uint32_t in_horizon_seq;
    uint32_t control;
} DaemonSide;

DaemonSide exitlog_daemon_side(void);
void exitlog_daemon_wait(const DaemonSide *seen, const bool *kicked);
void exitlog_daemon_wake(void);

#endif
