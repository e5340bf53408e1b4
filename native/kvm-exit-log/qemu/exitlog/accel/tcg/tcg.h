/*
 * Exit log: what TCG with instruction counting gives (accel/accel.h).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_ACCEL_TCG_TCG_H
#define EXITLOG_ACCEL_TCG_TCG_H

#include "exitlog/accel/accel.h"

extern const ExitlogAccel exitlog_accel_tcg;

void exitlog_tcg_init(void (*progress)(Position now));
void exitlog_tcg_start(void);
Position exitlog_tcg_position(void);
int64_t exitlog_tcg_icount(void);
int64_t exitlog_tcg_vtime_ns(void);
void exitlog_tcg_interrupt(void);
bool exitlog_tcg_clean(void);

#endif
