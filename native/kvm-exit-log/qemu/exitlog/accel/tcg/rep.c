/*
 * REP MOVS and REP STOS, a page at a time.
 *
 * Translated, each iteration is a TLB look-up or two and a dozen host instructions,
 * mostly for one byte: a third of the time of a guest that receives a TCP stream.
 * Here what both pages' TLB entries allow translated code to do directly is one
 * memmove.  All else (a TLB miss, a fault, MMIO, a page with code in it or not yet
 * dirty, an element across two pages) is one iteration of the ordinary kind, with the
 * registers up to date, so that a fault finds the state which it always found.
 *
 * The guest cannot tell, and instructions are counted as before: the translated loop
 * around it keeps its ends (do_gen_rep, REP_MAX).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "cpu.h"
#include "exec/cpu_ldst.h"
#include "exec/exec-all.h"
#include "exec/helper-proto.h"

/* Iterations: the translated loop leaves its block at multiples of this. */
#define REP_MAX 65535

typedef struct {
    CPUX86State *env;
    MemOp ot; /* an element has 1 << ot bytes */
    int mmu_idx;
    uintptr_t ra;
} Rep;

/* How many more the translated loop would do without looking up, but two. */
static target_ulong budget(CPUX86State *env)
{
    return env->df == 1 ? (env->regs[R_ECX] - 2) & REP_MAX : 0;
}

/* Elements from here to the end of the page. */
static target_ulong in_page(const Rep *r, target_ulong addr)
{
    return (TARGET_PAGE_SIZE - (addr & ~TARGET_PAGE_MASK)) >> r->ot;
}

static uint8_t *direct(const Rep *r, target_ulong addr, MMUAccessType access)
{
    return tlb_direct(env_cpu(r->env), addr, access, r->mmu_idx);
}

static void store_one(const Rep *r, uint64_t value)
{
    target_ulong addr = r->env->regs[R_EDI];

    switch (r->ot) {
    case MO_8:
        cpu_stb_mmuidx_ra(r->env, addr, value, r->mmu_idx, r->ra);
        break;
    case MO_16:
        cpu_stw_le_mmuidx_ra(r->env, addr, value, r->mmu_idx, r->ra);
        break;
    case MO_32:
        cpu_stl_le_mmuidx_ra(r->env, addr, value, r->mmu_idx, r->ra);
        break;
    default:
        cpu_stq_le_mmuidx_ra(r->env, addr, value, r->mmu_idx, r->ra);
        break;
    }
}

static uint64_t load_one(const Rep *r)
{
    target_ulong addr = r->env->regs[R_ESI];

    switch (r->ot) {
    case MO_8:
        return cpu_ldub_mmuidx_ra(r->env, addr, r->mmu_idx, r->ra);
    case MO_16:
        return cpu_lduw_le_mmuidx_ra(r->env, addr, r->mmu_idx, r->ra);
    case MO_32:
        return cpu_ldl_le_mmuidx_ra(r->env, addr, r->mmu_idx, r->ra);
    default:
        return cpu_ldq_le_mmuidx_ra(r->env, addr, r->mmu_idx, r->ra);
    }
}

/* Returns how many were moved; 0: it takes the ordinary way. */
static target_ulong move_directly(const Rep *r, target_ulong most)
{
    target_ulong from = r->env->regs[R_ESI], to = r->env->regs[R_EDI];
    target_ulong n = MIN(most, MIN(in_page(r, from), in_page(r, to)));
    uint8_t *src, *dst;

    if (n == 0) {
        return 0;
    }
    src = direct(r, from, MMU_DATA_LOAD);
    dst = src ? direct(r, to, MMU_DATA_STORE) : NULL;
    if (!dst) {
        return 0;
    }
    /* Ahead of its source, a copy reads again what it has written. */
    if (dst > src && (target_ulong)(dst - src) < n << r->ot) {
        n = (dst - src) >> r->ot;
    }
    memmove(dst, src, n << r->ot);
    return n;
}

static target_ulong store_directly(const Rep *r, target_ulong most,
                                   uint64_t value)
{
    target_ulong to = r->env->regs[R_EDI];
    target_ulong n = MIN(most, in_page(r, to));
    uint8_t *dst = n ? direct(r, to, MMU_DATA_STORE) : NULL;

    if (!dst) {
        return 0;
    }
    if (r->ot == MO_8 || value == 0) {
        memset(dst, value, n << r->ot);
        return n;
    }
    value = cpu_to_le64(value);
    for (target_ulong i = 0; i < n; i++) {
        memcpy(dst + (i << r->ot), &value, 1 << r->ot);
    }
    return n;
}

void helper_rep_movs(CPUX86State *env, uint32_t ot, uint32_t mmu_idx)
{
    Rep r = { env, ot, mmu_idx, GETPC() };
    target_ulong left = budget(env), n;

    for (; left; left -= n) {
        n = move_directly(&r, left);
        if (n == 0) {
            store_one(&r, load_one(&r));
            n = 1;
        }
        env->regs[R_ESI] += n << ot;
        env->regs[R_EDI] += n << ot;
        env->regs[R_ECX] -= n;
    }
}

void helper_rep_stos(CPUX86State *env, uint32_t ot, uint32_t mmu_idx)
{
    Rep r = { env, ot, mmu_idx, GETPC() };
    uint64_t value = extract64(env->regs[R_EAX], 0, 8 << ot);
    target_ulong left = budget(env), n;

    for (; left; left -= n) {
        n = store_directly(&r, left, value);
        if (n == 0) {
            store_one(&r, value);
            n = 1;
        }
        env->regs[R_EDI] += n << ot;
        env->regs[R_ECX] -= n;
    }
}
