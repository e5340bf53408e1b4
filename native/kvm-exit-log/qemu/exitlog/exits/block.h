/*
 * Exit log: disk requests of the guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_BLOCK_H
#define EXITLOG_EXITS_BLOCK_H

#include "exitlog/exitlog.h" /* exitlog_blk_aio() and its like */
#include "exitlog/core/exits.h"

extern const ExitlogExit exitlog_block_exit;

#endif
