/*
 * Exit log: faults on purpose, for tests of what is to notice them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VERIFY_FAULT_H
#define EXITLOG_VERIFY_FAULT_H

#include "exitlog/exitlog_abi.h"

/* spec: which; NULL: none. */
void exitlog_fault_configure(const char *spec);
/* At a visit, right before the vCPU runs on; where it is to stop for a fault. */
int64_t exitlog_fault_visit(int64_t icount);
/*
 * Replay: the next record as the faulty side sees it, which may be later than
 * it is.  False: it was left out.
 */
bool exitlog_fault_record(struct exitlog_record *r);

#endif
