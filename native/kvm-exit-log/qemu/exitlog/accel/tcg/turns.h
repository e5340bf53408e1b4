/*
 * Exit log: which vCPU runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_ACCEL_TCG_TURNS_H
#define EXITLOG_ACCEL_TCG_TURNS_H

/* No vCPU was chosen since the last instruction. */
bool exitlog_unchosen(void);

#endif
