/*
 * Exit log: what TCG with instruction counting gives (accel/accel.h).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exitlog/accel/tcg/tcg.h"

const ExitlogAccel exitlog_accel_tcg = {
    .init = exitlog_tcg_init,
    .start = exitlog_tcg_start,
    .position = exitlog_tcg_position,
    .icount = exitlog_tcg_icount,
    .vtime_ns = exitlog_tcg_vtime_ns,
    .interrupt = exitlog_tcg_interrupt,
    .clean = exitlog_tcg_clean,
};
