/*
 * Exit log: the table of all kinds of exit.
 *
 * A new one is a file and a line here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exitlog/cut/checkpoint.h"
#include "exitlog/end.h"
#include "exitlog/exits/block.h"
#include "exitlog/exits/clock.h"
#include "exitlog/exits/console.h"
#include "exitlog/exits/entropy.h"
#include "exitlog/exits/net.h"
#include "exitlog/exits/power.h"
#include "exitlog/kinds.h"

const ExitlogExit *const exitlog_exits[] = {
    &exitlog_power_exit,
    &exitlog_block_exit,
    &exitlog_console_exit,
    &exitlog_net_exit,
    &exitlog_clock_exit,
    &exitlog_entropy_exit,
    &exitlog_checkpoint_exit,
    &exitlog_end_exit,
    NULL
};
