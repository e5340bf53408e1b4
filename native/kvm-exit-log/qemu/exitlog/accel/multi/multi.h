/*
 * Exit log: what TCG with a thread for each vCPU gives (accel/accel.h).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_ACCEL_MULTI_MULTI_H
#define EXITLOG_ACCEL_MULTI_MULTI_H

#include "exitlog/accel/accel.h"

extern const ExitlogAccel exitlog_accel_multi;

#endif
