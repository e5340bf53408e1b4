/*
 * Exit log: looks into a replay, at positions asked for beforehand.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VERIFY_PROBE_H
#define EXITLOG_VERIFY_PROBE_H

#include "exitlog/accel/accel.h"

/* file: of requests; NULL: there are none. */
void exitlog_probe_configure(const char *file);
/* Right before the vCPU runs on; where it is to stop for a probe. */
int64_t exitlog_probe_visit(Position now);
/* A digest differs: this position is the last that can be looked at. */
void exitlog_probe_before_end(Position now);

#endif
