/*
 * Sine, cosine and tangent of the x87, in integer arithmetic.
 *
 * QEMU calls the host's libm for FSIN, FCOS, FPTAN and FSINCOS: through double, so that
 * 11 of 64 bits are lost, and with code that libm chooses by the host's CPU, so that two
 * hosts differ.  Here nothing depends on the host, and no result is off by more than half
 * a unit in the last place and 2^-20 of one (test/integration/host-cpu.test.ts looks).
 *
 * The operand is reduced by the true pi, not by the 66 bits of the hardware's, which
 * Intel's manual has as "0.f * 2^2": the result is the sine of the operand for every operand
 * that the instruction takes, which is the one specification that needs no hardware to
 * be compared with, and is what guests of QEMU have always seen.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "fpu/softfloat.h"
#include "exitlog/x87-trig.h"

typedef unsigned __int128 u128;

#define U128(high, low) ((u128)(high) << 64 | (low))

/* mant / 2^128 * 2^exp, mant's top bit set unless it is 0: as wide as a result needs. */
typedef struct {
    u128 mant;
    int exp;
} Wide;

/* The operand is quadrant * pi/2 + (negative ? -rest : rest), rest at most pi/4. */
typedef struct {
    Wide rest;
    bool negative;
    unsigned quadrant;
} Reduced;

/* Below 2^this, sin x = x, tan x = x and cos x = 1 but for less than a rounding bit. */
#define TINY_EXP (-33)
#define EXP_BIAS 0x3fff
/* Exponent of 2^63, the least that the instructions refuse. */
#define EXP_REFUSED (EXP_BIAS + 63)

/* Words of pi/2 - 1 to 256 bits: of 2^63 * pi/2 the error is 2^-194, and no x87 operand
   in range is nearer than 2^-70 to a multiple of pi/2. */
static const uint64_t pi_half_fraction[4] = {
    0x4177d4c76273644a, 0x52049c1114cf98e8, 0x898cc51701b839a2, 0x921fb54442d18469,
};
#define TWO_OVER_PI U128(0xa2f9836e4e441529, 0xfc2757d1f534ddc0)
#define PI_QUARTER_SIG 0xc90fdaa22168c234

/*
 * Taylor's series in z = r^2, as fractions of 2^128: 1/3!, 1/5!, 1/7!, 1/9! of the sine,
 * 1/2! to 1/8! of the cosine. What follows needs half the width only, scaled so that the
 * first of it fills 64 bits; what is left out is less than 2^-96.
 */
static const u128 sin_head[4] = {
    U128(0x2aaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaab),
    U128(0x0222222222222222, 0x2222222222222222),
    U128(0x000d00d00d00d00d, 0x00d00d00d00d00d0),
    U128(0x00002e3bc74aad8e, 0x671f5583911ca003),
};
static const u128 cos_head[4] = {
    U128(0x8000000000000000, 0x0000000000000000),
    U128(0x0aaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaab),
    U128(0x005b05b05b05b05b, 0x05b05b05b05b05b0),
    U128(0x0001a01a01a01a01, 0xa01a01a01a01a01a),
};
#define SIN_TAIL_SHIFT 25 /* 1/11! to 1/25!, of 2^(64 + 25) */
static const uint64_t sin_tail[8] = {
    0xd7322b3faa271c7f, 0x016124613a86d098, 0x0001ae7f3e733b82,
    0x000001952c77030b, 0x000000012f49b468, 0x0000000000b8dc78,
    0x0000000000005d87, 0x0000000000000028,
};
#define COS_TAIL_SHIFT 21 /* 1/10! to 1/24!, of 2^(64 + 21) */
static const uint64_t cos_tail[8] = {
    0x93f27dbbc4fae397, 0x011eed8eff8d897b, 0x000193974a8c07ca,
    0x000001ae7f3e733c, 0x000000016827863c, 0x0000000000f2a15d,
    0x0000000000008672, 0x000000000000003e,
};

/* The high half of a product, at most 3 too low. */
static u128 mul_high(u128 a, u128 b)
{
    uint64_t a1 = a >> 64, a0 = a, b1 = b >> 64, b0 = b;

    return (u128)a1 * b1 + (uint64_t)(((u128)a1 * b0) >> 64) +
           (uint64_t)(((u128)a0 * b1) >> 64);
}

static uint64_t mul_high64(uint64_t a, uint64_t b)
{
    return ((u128)a * b) >> 64;
}

/* 1 - z * head[0] + z^2 * head[1] ..., of 2^128; never 1, which does not fit. */
static u128 series(u128 z, const u128 *head, const uint64_t *tail, int tail_shift)
{
    uint64_t z64 = z >> 64, low = tail[7];
    u128 sum;

    for (int i = 6; i >= 0; i--) {
        low = tail[i] - mul_high64(z64, low);
    }
    sum = (u128)low << (64 - tail_shift);
    for (int i = 3; i >= 0; i--) {
        sum = head[i] - mul_high(z, sum);
    }
    return ~mul_high(z, sum);
}

static Wide normal(u128 mant, int exp)
{
    int shift = mant >> 64 ? clz64(mant >> 64) : 64 + clz64(mant);

    return (Wide) { .mant = mant << shift, .exp = exp - shift };
}

static u128 square(Wide r)
{
    u128 fixed = r.exp > -128 ? r.mant >> -r.exp : 0;

    return mul_high(fixed, fixed);
}

static Wide sine(Wide r)
{
    u128 ratio = series(square(r), sin_head, sin_tail, SIN_TAIL_SHIFT);

    return normal(mul_high(r.mant, ratio), r.exp);
}

static Wide cosine(Wide r)
{
    return normal(series(square(r), cos_head, cos_tail, COS_TAIL_SHIFT), 0);
}

/* *rest * 2^64 / d, *rest < d with d's top bit set; leaves the remainder there. */
static uint64_t divide_step(u128 *rest, u128 d)
{
    uint64_t d1 = d >> 64, d0 = d, n1 = *rest >> 64, unused;
    uint64_t q = n1 >= d1 ? UINT64_MAX : udiv_qrnnd(&unused, n1, *rest, d1);
    /* Words of *rest * 2^64 - q * d, which has three of them while q is too high. */
    u128 low = (u128)q * d0;
    u128 high = *rest - (u128)q * d1 - (uint64_t)(low >> 64) - ((uint64_t)low != 0);
    uint64_t word = -(uint64_t)low;

    while (high >> 64) { /* negative: at most twice */
        uint64_t sum = word + d0;

        high += (u128)d1 + (sum < word);
        word = sum;
        q--;
    }
    *rest = U128((uint64_t)high, word);
    return q;
}

static Wide quotient(Wide n, Wide d)
{
    u128 rest = n.mant;
    int exp = n.exp - d.exp;
    uint64_t high;

    if (rest >= d.mant) {
        rest >>= 1;
        exp++;
    }
    high = divide_step(&rest, d.mant);
    return normal(U128(high, divide_step(&rest, d.mant)), exp);
}

/* |x| = sig / 2^63 * 2^exp, exp -1 to 62, as quadrants and what is left. */
static Reduced reduce(uint64_t sig, int exp)
{
    /* Rounded; wrong by one only where both rests are pi/4, to 60 bits. */
    u128 quarters = (u128)sig * (uint64_t)(TWO_OVER_PI >> 64) +
                    mul_high64(sig, (uint64_t)TWO_OVER_PI);
    uint64_t q = ((uint64_t)(quarters >> (126 - exp)) + 1) >> 1;
    uint64_t word[5] = { 0, 0, 0, sig << (exp + 1), exp < 0 ? 0 : sig >> (63 - exp) };
    uint64_t carry = 0, borrow = 0;
    Reduced r = { .quadrant = q & 3 };
    int top = 4;

    for (int i = 0; i < 5; i++) { /* word -= q * pi/2 */
        u128 product = (i < 4 ? (u128)q * pi_half_fraction[i] : q) + carry;
        u128 difference = (u128)word[i] - (uint64_t)product - borrow;

        carry = product >> 64;
        word[i] = difference;
        borrow = (uint64_t)(difference >> 64) != 0;
    }
    r.negative = borrow;
    for (int i = 0; i < 5 && r.negative; i++) {
        word[i] = ~word[i] + borrow;
        borrow = borrow && !word[i];
    }
    while (top > 2 && !word[top]) {
        top--;
    }
    r.rest = normal(U128(word[top], word[top - 1]), 64 * (top - 3));
    if (r.rest.exp < 64 * (top - 3)) { /* bits of a third word come in */
        int shift = 64 * (top - 3) - r.rest.exp;

        r.rest.mant |= word[top - 2] >> (64 - shift);
    }
    return r;
}

static floatx80 rounded(bool negative, Wide value, float_status *status)
{
    /* Irrational, all of them: never exact. */
    return normalizeRoundAndPackFloatx80(floatx80_precision_x, negative,
                                         EXP_BIAS - 1 + value.exp, value.mant >> 64,
                                         (uint64_t)value.mant | 1, status);
}

/* What has no quotient of sine and cosine: zeros, infinities, NaNs. */
static bool special(floatx80 x, X87Trig *result, float_status *status)
{
    if (floatx80_invalid_encoding(x, status) || floatx80_is_infinity(x, status)) {
        float_raise(float_flag_invalid, status);
        x = floatx80_default_nan(status);
    } else if (floatx80_is_any_nan(x)) {
        if (floatx80_is_signaling_nan(x, status)) {
            float_raise(float_flag_invalid, status);
            x = floatx80_silence_nan(x, status);
        }
    } else if (floatx80_is_zero(x)) {
        *result = (X87Trig) { .sin = x, .cos = floatx80_one, .tan = x };
        return true;
    } else {
        return false;
    }
    *result = (X87Trig) { .sin = x, .cos = x, .tan = x };
    return true;
}

static void tiny(bool negative, Wide x, unsigned wanted, X87Trig *result,
                 float_status *status)
{
    Wide below_x = { .mant = x.mant - 1, .exp = x.exp };
    Wide below_one = { .mant = -1, .exp = 0 };

    if (wanted & X87_SIN) {
        result->sin = rounded(negative, below_x, status);
    }
    if (wanted & X87_COS) {
        result->cos = rounded(false, below_one, status);
    }
    if (wanted & X87_TAN) {
        result->tan = rounded(negative, x, status);
    }
}

bool x87_trig(floatx80 x, unsigned wanted, X87Trig *result, float_status *status)
{
    bool negative = extractFloatx80Sign(x);
    int32_t exp = extractFloatx80Exp(x);
    uint64_t sig = extractFloatx80Frac(x);
    Reduced r;
    Wide s, c;

    if (special(x, result, status)) {
        return true;
    }
    if (exp >= EXP_REFUSED) {
        return false;
    }
    if (exp == 0) {
        float_raise(float_flag_input_denormal_flushed, status);
        normalizeFloatx80Subnormal(sig, &exp, &sig);
    }
    exp -= EXP_BIAS;
    if (exp < -1 || (exp == -1 && sig <= PI_QUARTER_SIG)) {
        r = (Reduced) { .rest = { .mant = (u128)sig << 64, .exp = exp + 1 } };
    } else {
        r = reduce(sig, exp);
    }
    if (exp < TINY_EXP) {
        tiny(negative, r.rest, wanted, result, status);
        return true;
    }
    /* As of the rest; in an odd quadrant they change places. */
    if (wanted != (r.quadrant & 1 ? X87_SIN : X87_COS)) {
        s = sine(r.rest);
    }
    if (wanted != (r.quadrant & 1 ? X87_COS : X87_SIN)) {
        c = cosine(r.rest);
    }
    if (wanted & X87_SIN) {
        bool turned = r.quadrant & 1 ? r.quadrant == 3 : r.negative ^ (r.quadrant == 2);

        result->sin = rounded(negative ^ turned, r.quadrant & 1 ? c : s, status);
    }
    if (wanted & X87_COS) {
        bool turned = r.quadrant & 1 ? r.negative ^ (r.quadrant == 1) : r.quadrant == 2;

        result->cos = rounded(turned, r.quadrant & 1 ? s : c, status);
    }
    if (wanted & X87_TAN) {
        bool turned = r.negative ^ (r.quadrant & 1);

        result->tan = rounded(negative ^ turned,
                              r.quadrant & 1 ? quotient(c, s) : quotient(s, c), status);
    }
    return true;
}
