/*
 * Exit log: commands of the operator, reset, and power.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_POWER_H
#define EXITLOG_EXITS_POWER_H

#include "exitlog/core/exits.h"

extern const ExitlogExit exitlog_power_exit;

#endif
