/*
 * Exit log: flushes that a replay owes to its disks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_FLUSH_OWED_H
#define EXITLOG_EXITS_FLUSH_OWED_H

#include "system/block-backend.h"

void exitlog_flush_owe(int disk, BlockBackend *blk);
/* All of them, by the vCPU thread that goes live; BQL. */
void exitlog_flush_pay(void);
/* The completion of one. */
void exitlog_flush_paid(void *opaque, int ret);

#endif
