/*
 * Sine, cosine and tangent of the x87, the same on every host (exitlog/accel/tcg/x87-trig.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_X87_TRIG_H
#define EXITLOG_X87_TRIG_H

#include "fpu/softfloat-types.h"

enum {
    X87_SIN = 1,
    X87_COS = 2,
    X87_TAN = 4,
};

/* Where x is a NaN or an infinity, all three are NaNs. */
typedef struct {
    floatx80 sin, cos, tan;
} X87Trig;

/*
 * What is wanted of x, rounded as status says, but always to 64 bits: precision control
 * is for arithmetic only.  False where |x| is 2^63 or more: result is as it was.
 */
bool x87_trig(floatx80 x, unsigned wanted, X87Trig *result, float_status *status);

#endif
