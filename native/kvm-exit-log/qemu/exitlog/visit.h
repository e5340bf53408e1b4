/*
 * Exit log: the visit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VISIT_H
#define EXITLOG_VISIT_H

#include "exitlog/exitlog.h" /* exitlog_visit() */
#include "exitlog/accel/accel.h"

/* Between two visits, while the guest computes. */
void exitlog_progress(Position now);

#endif
