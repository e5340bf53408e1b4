/*
 * What a guest computes must not depend on the host's CPU or libm.
 *
 *   fp trig COUNT SEED   x87 sine, cosine and tangent, bit by bit, to be compared outside
 *   fp speed             how long a million FSIN take
 *   fp mix ROUNDS SEED   hashes of what else the CPU's units compute
 *   fp pages             numbers that lie in two pages, stored and loaded
 *   fp both ROUNDS SEED  pages, trig, of a quarter of them, and mix
 *   fp for-ever SECONDS  the same without end, a hash each so many seconds
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef __clang__
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt,movbe,aes,pclmul,sse4.2,sha")
#endif
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#ifdef __clang__
#pragma clang attribute push( \
    __attribute__((target("avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt,movbe,aes,pclmul,sse4.2,sha"))), \
    apply_to = function)
#endif

typedef struct {
    uint64_t significand;
    uint16_t sign_exponent;
} __attribute__((packed)) Extended;

static uint64_t state, hash = 1469598103934665603u;

static uint64_t next(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state ^ state >> 29;
}

static void mix_in(const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ ((const uint8_t *)data)[i]) * 1099511628211u;
    }
}

/* An operand of any kind: ordinary, zero, denormal, infinity, NaN, no number at all. */
static Extended operand(void)
{
    uint64_t kind = next() % 16;
    Extended x = {next() | 1ull << 63, (next() & 0x8000) | (0x3fff - 40 + next() % 44)};

    if (kind < 4) {
        x.sign_exponent = (x.sign_exponent & 0x8000) | (0x3fff + next() % 63);
    } else if (kind == 4) { /* few bits */
        x.significand = (next() % 4096) << 52 | 1ull << 63;
    } else if (kind == 5) {
        x.sign_exponent = next();
    } else if (kind == 6) {
        x.sign_exponent &= 0x8000;
        x.significand = next() % 3 ? next() >> (next() % 64) : 0;
    } else if (kind == 7) {
        static const uint64_t specials[] = {1ull << 63, 3ull << 62, 0xa000000000000001, 1};

        x.sign_exponent |= 0x7fff;
        x.significand = specials[next() % 4];
    } else if (kind == 8) {
        x.significand = next() >> (next() % 2);
    }
    return x;
}

/* C2 and the exceptions' flags; B is there where one is not masked. */
#define KEPT 0x04ff

#define X87_ONE(name)                                                               \
    static uint16_t name(Extended x, uint16_t control, Extended *result)            \
    {                                                                               \
        uint16_t status;                                                            \
                                                                                    \
        __asm__ volatile("fninit; fldcw %3; fldt %2; fnclex; " #name "; fnstsw %0;" \
                         "fstpt %1; fninit"                                         \
                         : "=a"(status), "=m"(*result)                              \
                         : "m"(x), "m"(control));                                   \
        return status & KEPT;                                                       \
    }

/* Two results; where C2 is set, one. */
#define X87_TWO(name)                                                               \
    static uint16_t name(Extended x, uint16_t control, Extended *result)            \
    {                                                                               \
        uint16_t status;                                                            \
                                                                                    \
        __asm__ volatile("fninit; fldcw %4; fldt %3; fnclex; " #name "; fnstsw %0;" \
                         "fstpt %1; fstpt %2; fninit"                               \
                         : "=a"(status), "=m"(result[0]), "=m"(result[1])           \
                         : "m"(x), "m"(control));                                   \
        return status & KEPT;                                                       \
    }

#define X87_PAIR(name)                                                              \
    static uint16_t name(Extended x, Extended y, uint16_t control, Extended *result) \
    {                                                                               \
        uint16_t status;                                                            \
                                                                                    \
        __asm__ volatile("fninit; fldcw %4; fldt %3; fldt %2; fnclex; " #name       \
                         "; fnstsw %0; fstpt %1; fninit"                            \
                         : "=a"(status), "=m"(*result)                              \
                         : "m"(x), "m"(y), "m"(control));                           \
        return status & KEPT;                                                       \
    }

X87_ONE(fsin)
X87_ONE(fcos)
X87_TWO(fptan)
X87_TWO(fsincos)
X87_ONE(f2xm1)
X87_ONE(fsqrt)
X87_ONE(frndint)
X87_PAIR(fpatan)
X87_PAIR(fyl2x)
X87_PAIR(fyl2xp1)
X87_PAIR(fprem)
X87_PAIR(fscale)
X87_PAIR(faddp)
X87_PAIR(fmulp)
X87_PAIR(fdivp)

/* Rounding mode and precision at random; all exceptions masked. */
static uint16_t control_word(void)
{
    static const uint16_t precisions[] = {0x000, 0x200, 0x300, 0x300};

    return 0x003f | precisions[next() % 4] | (next() % 4) << 10;
}

static void trig(long count)
{
    for (long i = 0; i < count; i++) {
        Extended x = operand(), s, c, t[2], sc[2];
        uint16_t control = control_word();
        unsigned flags[4] = {fsin(x, control, &s), fcos(x, control, &c),
                             fptan(x, control, t), fsincos(x, control, sc)};

        printf("fp: %x %04x %016lx =", control >> 10, x.sign_exponent, x.significand);
        printf(" %x %04x %016lx", flags[0], s.sign_exponent, s.significand);
        printf(" %x %04x %016lx", flags[1], c.sign_exponent, c.significand);
        for (int j = 0; j < 2; j++) {
            printf(" %x %04x %016lx", flags[2], t[j].sign_exponent, t[j].significand);
        }
        for (int j = 0; j < 2; j++) {
            printf(" %x %04x %016lx", flags[3], sc[j].sign_exponent, sc[j].significand);
        }
        printf("\n");
    }
}

static void x87(void)
{
    static uint16_t (*const ones[])(Extended, uint16_t, Extended *) = {
        fsin, fcos, fptan, fsincos, f2xm1, fsqrt, frndint,
    };
    static uint16_t (*const pairs[])(Extended, Extended, uint16_t, Extended *) = {
        fpatan, fyl2x, fyl2xp1, fprem, fscale, faddp, fmulp, fdivp,
    };

    for (size_t i = 0; i < sizeof(ones) / sizeof(*ones); i++) {
        Extended result[2] = {{0}};
        uint16_t status = ones[i](operand(), control_word(), result);

        mix_in(result, sizeof(result));
        mix_in(&status, sizeof(status));
    }
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        Extended result = {0};
        uint16_t status = pairs[i](operand(), operand(), control_word(), &result);

        mix_in(&result, sizeof(result));
        mix_in(&status, sizeof(status));
    }
}

/* A vector of floats or doubles: of near exponents, or bits of any kind. */
static __m256i numbers(int is_double)
{
    uint64_t words[4];
    int kind = next() % 4;

    for (int i = 0; i < 4; i++) {
        words[i] = next();
        if (kind == 0) {
            continue;
        }
        if (is_double) {
            words[i] = (words[i] & 0x800fffffffffffff) | (1023 - 8 + next() % 16) << 52;
        } else {
            words[i] &= 0x807fffff807fffff;
            words[i] |= (127 - 8 + next() % 16) << 23 | (127 - 8 + next() % 16) << 55;
        }
    }
    return _mm256_loadu_si256((__m256i *)words);
}

#define MIX(value)                                                                  \
    do {                                                                            \
        __auto_type kept = (value);                                                 \
                                                                                    \
        mix_in(&kept, sizeof(kept));                                                \
    } while (0)

/* Each kind of operation in single, double, packed, scalar; the flags of MXCSR at last. */
static void floats(void)
{
    static const unsigned modes[] = {0x1f80, 0x1f80, 0x1fa0, 0x1fa0, 0x3f80,
                                     0x5f80, 0x7f80, 0x9fc0, 0x1fc0};
    __m256 a = (__m256)numbers(0), b = (__m256)numbers(0), c = (__m256)numbers(0);
    __m256d p = (__m256d)numbers(1), q = (__m256d)numbers(1), r = (__m256d)numbers(1);

    _mm_setcsr(modes[next() % 9]);
    MIX(a + b);
    MIX(a * b);
    MIX(b - c);
    MIX(a / b);
    MIX(_mm256_sqrt_ps(a));
    MIX(_mm256_rcp_ps(a));
    MIX(_mm256_rsqrt_ps(b));
    MIX(_mm256_fmadd_ps(a, b, c));
    MIX(_mm256_fnmsub_ps(a, b, c));
    MIX(_mm256_fmaddsub_ps(a, b, c));
    MIX(_mm256_min_ps(a, b));
    MIX(_mm256_cvtps_epi32(a));
    MIX(_mm256_cvtps_ph(a, _MM_FROUND_CUR_DIRECTION));
    MIX(_mm256_dp_ps(a, b, 0xf1));
    MIX(_mm256_hadd_ps(a, b));
    MIX(p + q);
    MIX(p * q);
    MIX(q - r);
    MIX(p / q);
    MIX(_mm256_sqrt_pd(p));
    MIX(_mm256_fmadd_pd(p, q, r));
    MIX(_mm256_fnmadd_pd(p, q, r));
    MIX(_mm256_fmsub_pd(p, q, r));
    MIX(_mm256_max_pd(p, q));
    MIX(_mm256_round_pd(p, _MM_FROUND_CUR_DIRECTION));
    MIX(_mm256_cvtpd_ps(p));
    MIX(_mm256_cvtpd_epi32(p));
    MIX(_mm256_cmp_pd(p, q, _CMP_NLE_US));
    MIX(_mm_cvtsd_si64(_mm256_castpd256_pd128(p)));
    MIX(_mm_fmadd_sd(_mm256_castpd256_pd128(p), _mm256_castpd256_pd128(q),
                     _mm256_castpd256_pd128(r)));
    MIX(_mm_fmadd_ss(_mm256_castps256_ps128(a), _mm256_castps256_ps128(b),
                     _mm256_castps256_ps128(c)));
    MIX(_mm_sqrt_sd(_mm256_castpd256_pd128(p), _mm256_castpd256_pd128(q)));
    MIX(_mm_cvtsi64_sd(_mm256_castpd256_pd128(p), next()));
    MIX(_mm_getcsr());
    _mm_setcsr(0x1f80);
}

/* What TCG translates by the host's vector and bit instructions, or does in helpers. */
static void integers(void)
{
    __m256i a = numbers(0), b = numbers(1), shifts = _mm256_set1_epi64x(next() & 0x3f3f3f3f3f);
    __m128i low = _mm256_castsi256_si128(a), key = _mm256_castsi256_si128(b);
    uint64_t x = next() >> (next() % 65 % 64), y = next();
    uint64_t swapped;

    MIX(_mm256_add_epi8(a, b));
    MIX(_mm256_subs_epu16(a, b));
    MIX(_mm256_mullo_epi32(a, b));
    MIX(_mm256_mulhi_epi16(a, b));
    MIX(_mm256_cmpgt_epi64(a, b));
    MIX(_mm256_max_epu32(a, b));
    MIX(_mm256_abs_epi16(a));
    MIX(_mm256_sllv_epi32(a, shifts));
    MIX(_mm256_srlv_epi64(a, shifts));
    MIX(_mm256_srav_epi32(a, shifts));
    MIX(_mm256_sra_epi16(a, _mm_cvtsi64_si128(y % 20)));
    MIX(_mm256_sll_epi64(a, _mm_cvtsi64_si128(y % 70)));
    MIX(_mm256_shuffle_epi8(a, b));
    MIX(_mm256_permutevar8x32_epi32(a, b));
    MIX(_mm256_blendv_epi8(a, b, shifts));
    MIX(_mm256_packus_epi32(a, b));
    MIX(_mm256_andnot_si256(a, b));
    MIX(_mm256_sad_epu8(a, b));
    MIX(_mm_aesenc_si128(low, key));
    MIX(_mm_aesdeclast_si128(low, key));
    MIX(_mm_aeskeygenassist_si128(key, 0x1b));
    MIX(_mm_aesimc_si128(key));
    MIX(_mm_clmulepi64_si128(low, key, 0x10));
    MIX(_mm_sha256rnds2_epu32(low, key, low));
    MIX(_mm_cmpestrm(low, y % 17, key, x % 17, _SIDD_CMP_EQUAL_ORDERED | _SIDD_UNIT_MASK));
    MIX(_mm_cmpistri(low, key, _SIDD_CMP_RANGES));
    MIX(_pext_u64(x, y));
    MIX(_pdep_u64(x, y));
    MIX(_lzcnt_u64(x));
    MIX(_tzcnt_u64(x));
    MIX(_mm_popcnt_u64(x));
    MIX(_andn_u64(x, y));
    MIX(_bextr_u64(y, x % 64, 13));
    MIX(_bzhi_u64(y, x % 64));
    MIX(_mm_crc32_u64(x, y));
    MIX(x << (y & 63) | x >> (-y & 63));
    MIX((int64_t)x >> (y & 63));
    __asm__("movbe %1, %0" : "=r"(swapped) : "m"(y));
    MIX(swapped);
}

static void speed(void)
{
    for (int kind = 0; kind < 2; kind++) {
        double x = kind ? 12345.678 : 0.5, sum = 0;
        struct timespec from, to;

        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int i = 0; i < 1000000; i++) {
            double s;

            __asm__ volatile("fldl %1; fsin; fstpl %0" : "=m"(s) : "m"(x));
            sum += s;
            x += 1e-7;
        }
        clock_gettime(CLOCK_MONOTONIC, &to);
        printf("fp: a million FSIN near %s: %.0f ms (sum %a)\n", kind ? "12345" : "0.5",
               (to.tv_sec - from.tv_sec) * 1e3 + (to.tv_nsec - from.tv_nsec) / 1e6, sum);
    }
}

static void mix(long rounds)
{
    for (long i = 0; i < rounds; i++) {
        x87();
        floats();
        integers();
    }
}

#define PAGES 256
#define PAGE 4096

/* Wrong bytes, of all numbers over each border. The pages are anywhere in the guest's memory. */
static void pages(void)
{
    const int all = MAP_PRIVATE | MAP_ANONYMOUS;
    uint8_t *base = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, all, -1, 0);
    static uint8_t wanted[PAGES * PAGE];
    long wrong = 0, numbers = 0;

    if (base == MAP_FAILED) {
        return;
    }
    for (int i = 0; i < PAGES; i++) { /* not one behind the other */
        memset(base + i * 77 % PAGES * PAGE, 0x5a, PAGE);
    }
    memset(wanted, 0x5a, sizeof(wanted));
    for (int i = 1; i < PAGES; i++) {
        size_t at = i * PAGE - (1 + i % (sizeof(Extended) - 1));
        Extended x = {next() | 1ull << 63, 0x3fff}, back;

        __asm__ volatile("fldt %1; fstpt %0" : "=m"(*(Extended *)(base + at)) : "m"(x));
        __asm__ volatile("fldt %1; fstpt %0" : "=m"(back) : "m"(*(Extended *)(base + at)));
        memcpy(wanted + at, &x, sizeof(x));
        wrong += memcmp(&back, &x, sizeof(x)) != 0;
        numbers++;
    }
    for (size_t i = 0; i < sizeof(wanted); i++) {
        wrong += base[i] != wanted[i];
    }
    munmap(base, PAGES * PAGE);
    printf("fp: pages %ld, %ld wrong\n", numbers, wrong);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    long count = argc > 2 ? atol(argv[2]) : 1000;

    state = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(what, "trig")) {
        trig(count);
    } else if (!strcmp(what, "pages")) {
        pages();
    } else if (!strcmp(what, "speed")) {
        speed();
    } else if (!strcmp(what, "mix") || !strcmp(what, "both")) {
        if (*what == 'b') {
            pages();
            trig(count / 4);
        }
        for (int part = 0; part < 10; part++) {
            mix(count / 10);
            printf("fp: %d %016lx\n", part, hash);
        }
        printf("fp: %ld rounds\n", count);
    } else if (!strcmp(what, "for-ever")) {
        if (nice(19) == -1) { /* beside what the guest serves */
            return 1;
        }
        for (time_t told = time(NULL);;) {
            mix(10);
            if (time(NULL) >= told + count) {
                told = time(NULL);
                printf("fp: %016lx\n", hash);
            }
        }
    } else {
        return 2;
    }
    return 0;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
