/*
 * Exit log: a storm of kicks, for tests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_VERIFY_STORM_H
#define EXITLOG_VERIFY_STORM_H

void exitlog_storm_start(void);

#endif
