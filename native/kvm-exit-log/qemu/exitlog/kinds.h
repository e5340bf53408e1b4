/*
 * Exit log: the table of all kinds of exit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_KINDS_H
#define EXITLOG_KINDS_H

#include "exitlog/core/exits.h"

/* In the order in which they inject; NULL after the last. */
extern const ExitlogExit *const exitlog_exits[];

#endif
