/*
 * Exit log: serial ports.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_EXITS_CONSOLE_H
#define EXITLOG_EXITS_CONSOLE_H

#include "exitlog/exitlog_abi.h"

/*
 * Replay: true, and the record is consumed, if the guest has printed the
 * record's bytes; false if it has not printed as many yet.
 */
bool exitlog_console_match(const struct exitlog_record *r);
/*
 * Live.  A CHAR_IN command of the daemon is taken when its port has room for it;
 * what was taken is injected, and logged, as the guest has room, one piece a call.
 */
bool exitlog_console_takes(const struct exitlog_record *c);
void exitlog_console_take(const struct exitlog_record *c);
bool exitlog_console_pending(void);
bool exitlog_console_inject(void);
/* The guard that was to read it is gone. */
void exitlog_console_forget(void);

#endif
