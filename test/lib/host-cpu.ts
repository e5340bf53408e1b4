// SPDX-License-Identifier: Apache-2.0
/**
 * Hosts that differ in their CPU, on one: environments for a daemon or a command whose
 * QEMU is to be on a host without certain features. glibc (libm, memcpy) and QEMU
 * itself (TCG's back end, AES, CLMUL) find out for themselves, so each is told.
 */

/** Bits of QEMU's host/cpuinfo.h, for EXITLOG_HIDE_CPU. */
const CPUINFO = {
  osxsave: 1 << 1,
  movbe: 1 << 2,
  lzcnt: 1 << 3,
  popcnt: 1 << 4,
  bmi1: 1 << 5,
  bmi2: 1 << 6,
  avx1: 1 << 9,
  avx2: 1 << 10,
  avx512f: 1 << 11,
  avx512vl: 1 << 12,
  avx512bw: 1 << 13,
  avx512dq: 1 << 14,
  avx512vbmi2: 1 << 15,
  atomicVmovdqa: 1 << 16,
  atomicVmovdqu: 1 << 17,
  aes: 1 << 18,
  pclmul: 1 << 19,
};

type Feature = keyof typeof CPUINFO;

const AVX512: readonly Feature[] = ['avx512f', 'avx512vl', 'avx512bw', 'avx512dq', 'avx512vbmi2'];

function without(
  glibc: readonly string[],
  qemu: readonly Feature[],
): Readonly<Record<string, string>> {
  const bits = qemu.reduce((sum, feature) => sum | CPUINFO[feature], 0);
  return {
    GLIBC_TUNABLES: `glibc.cpu.hwcaps=${glibc.map((name) => `-${name}`).join(',')}`,
    EXITLOG_HIDE_CPU: bits.toString(16),
  };
}

/** glibc before 2.33 calls some of them by the names with _Usable; unknown ones do nothing. */
const FMA = ['FMA', 'FMA4', 'FMA_Usable', 'FMA4_Usable'];
const AVX2 = ['AVX2', 'AVX2_Usable', 'AVX512F', 'AVX512VL', 'AVX512BW'];

/** What a host lacks, by name. */
export const HOST_CPUS = {
  all: {},
  'no-fma': without(FMA, []),
  'no-avx2': without(AVX2, ['avx2', ...AVX512]),
  /** An x86-64 of 2003. */
  none: without(
    [...FMA, ...AVX2, 'AVX', 'AVX_Usable', 'ERMS', 'FSRM', 'SSE4_1', 'SSE4_2', 'SSSE3', 'BMI2'],
    Object.keys(CPUINFO) as Feature[],
  ),
} as const satisfies Readonly<Record<string, Readonly<Record<string, string>>>>;

export type HostCpu = keyof typeof HOST_CPUS;
