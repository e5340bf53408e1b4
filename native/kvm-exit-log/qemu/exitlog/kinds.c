/*
 * Exit log: the table of all kinds of exit.
 *
 * A new one is a file and a line here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exitlog/kinds.h"

/* In the order in which they inject: exitlog_NAME_exit, each of its own file. */
#define EXITS(X)  \
    X(power)      \
    X(block)      \
    X(console)    \
    X(net)        \
    X(clock)      \
    X(entropy)    \
    X(checkpoint) \
    X(epoch)      \
    X(end)

#define DECLARE(name) extern const ExitlogExit exitlog_##name##_exit;
EXITS(DECLARE)

#define ROW(name) &exitlog_##name##_exit,
const ExitlogExit *const exitlog_exits[] = { EXITS(ROW) NULL };
