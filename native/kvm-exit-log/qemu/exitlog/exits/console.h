/*
 * Exit log: the serial console.
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
/* How many bytes the guest takes now. */
int exitlog_console_room(uint16_t channel);
void exitlog_console_type(const uint8_t *data, uint32_t len);

#endif
