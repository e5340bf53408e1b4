/*
 * Exit log: replay did something that the log does not allow.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_DIVERGENCE_H
#define EXITLOG_CORE_DIVERGENCE_H

#include "exitlog/accel/accel.h"
#include "exitlog/exitlog_abi.h"

/* expected: the log's record, or NULL. */
G_NORETURN void exitlog_diverge(const struct exitlog_record *expected,
                                const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* members: "" or more members of the report in JSON, each after a comma. */
G_NORETURN void exitlog_diverge_with(const struct exitlog_record *expected,
                                     const char *text, const char *members);
/* Both sides are known to be equal up to here: the report says so. */
void exitlog_equal_up_to(Position p);

#endif
