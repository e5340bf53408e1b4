/*
 * Exit log: bottom halves that the guest caused.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_BH_H
#define EXITLOG_CORE_BH_H

#include "exitlog/exitlog.h" /* exitlog_bh_schedule() and its like */

/* Runs what is pending, in order; true if there was any. */
bool exitlog_bh_run(void);

#endif
