// SPDX-License-Identifier: Apache-2.0
/**
 * What the papers say, each number with where it was found: in the stored text of the
 * document itself, or in the project's list of anchors (ANCHORS.md), which was made from
 * stored sources. Nothing else may be printed as a paper's. What is known from memory
 * only ("recalled" there: the normalized times of Bressoud and Schneider by epoch length)
 * is not in here, and so in no figure.
 */

export interface Source {
  /** The entry of a list of references. */
  readonly citation: string;
  readonly foundIn: string;
  /** What it was measured on, as far as our source says. */
  readonly testbed: string | null;
}

export const KEMARI_2007 = {
  citation:
    'Tamura, Sato, Kihara, Moriai: Virtual Machine Synchronization for High Availability ' +
    'Clusters, NTT Cyber Space Labs, 2007',
  foundIn: 'seeds/000_f29314a8c5d44a45.txt',
  testbed: 'Xen unstable of 2006-12, 2 × Xeon 3 GHz, 1 GB VM, Gigabit Ethernet, FC SAN',
  /** Its table: without synchronization, and on every event. */
  noSync: { netperf_mbit_s: 93.39, osync_mb_s: 5.67, fsync_mb_s: 53.95 },
  everyEvent: { netperf_mbit_s: 22.81, osync_mb_s: 0.58, fsync_mb_s: 16.54 },
  /** Buffered write and fsync under the proposed protocol, of no-sync: "was 44%" less. */
  proposedFsyncRatio: 0.56,
  /** Over synchronization on every event: "improved 39% - 84%". */
  proposedGain: [0.39, 0.84],
  /** "Number of events to sync reduced 49% - 96%". */
  eventsReduced: [0.49, 0.96],
  /** "Average time to transfer dirtied pages multiplied by 2 -18". */
  transferTimes: [2, 18],
} as const satisfies Source & Record<string, unknown>;

export const KEMARI_REPLAY = {
  citation:
    'Ohmura: Rapid VM Synchronization with I/O Emulation Logging-Replay, NTT Cyber Space ' +
    'Labs, 2011',
  foundIn: 'seeds/001_e293c390cbd8bcfa.txt',
  testbed: 'KVM of Linux 2.6.33, QEMU 0.14, 2 × quad-core Xeon 2.6 GHz, 1 GB VM, 1 GbE',
  /** Logging-replay against copying dirty blocks. */
  diskTrafficReduced: 0.99,
  trafficPerSyncReduced: 0.5,
  throughputGain: 1.6,
} as const satisfies Source & Record<string, unknown>;

export const BRESSOUD_SCHNEIDER = {
  citation: 'Bressoud, Schneider: Hypervisor-based Fault Tolerance, ACM TOCS 14(1), 1996',
  foundIn: 'ANCHORS.md (abstract)',
  testbed: null,
  /** Time of a protected machine over a bare one: the prototype, the revised protocols. */
  slowdown: 2,
  slowdownRevised: [1.5, 2],
} as const satisfies Source & Record<string, unknown>;

export const VMWARE_FT = {
  citation: 'Scales et al., OSR 2010 (VMware FT)',
  foundIn: 'ANCHORS.md',
  testbed: '1 vCPU',
  rows: [
    { workload: 'SPECjbb', ratio: 0.98, log_mbit_s: '1.5' },
    { workload: 'kernel compile', ratio: 0.95, log_mbit_s: '3.0' },
    { workload: 'Swingbench', ratio: 0.99, log_mbit_s: '12' },
    { workload: 'DVD Store', ratio: 0.94, log_mbit_s: '18' },
    { workload: 'idle', ratio: null, log_mbit_s: '0.5–1.5' },
    { workload: 'Netperf receive, 1 Gbit/s', ratio: 604 / 940, log_mbit_s: '730' },
    { workload: 'Netperf send, 1 Gbit/s', ratio: 855 / 940, log_mbit_s: '42' },
  ],
  /** Mbit/s with and without FT, of the last two. */
  receive: [604, 940],
  send: [855, 940],
} as const satisfies Source & Record<string, unknown>;

export const COLESA = {
  citation:
    'Coleșa, Marincaș, Ignat, Ardelean: Strategies to Transparently Make a Centralized ' +
    'Service Highly-Available, Technical University of Cluj-Napoca',
  foundIn: 'seeds/003_3841603869588e1e.txt',
  testbed: 'Xen, Athlon 2000 XP, 64 MB VM, 100 Mbit/s Ethernet, Busybox being compiled',
  /** "reestablished in under one second" */
  failover_ms_max: 1000,
} as const satisfies Source & Record<string, unknown>;

export const REMUS = {
  citation: 'Cully et al.: Remus, NSDI 2008',
  foundIn: 'ANCHORS.md',
  testbed: null,
  failover_ms_about: 1000,
  /** A kernel build by checkpoints a second: how much longer than without protection. */
  compile: [
    { hz: 10, longer: 0.31 },
    { hz: 20, longer: 0.52 },
    { hz: 30, longer: 0.8 },
    { hz: 40, longer: 1.03 },
  ],
} as const satisfies Source & Record<string, unknown>;

export const RRC = {
  citation: 'RRC (HyCoR), USENIX ATC 2022',
  foundIn: 'ANCHORS.md (abstract)',
  testbed: null,
  failover_ms_max: 1000,
} as const satisfies Source & Record<string, unknown>;

export const RETRACE = {
  citation: 'VMware ReTrace',
  foundIn: 'ANCHORS.md (abstract)',
  testbed: null,
  bytesPerThousand: 0.5,
} as const satisfies Source & Record<string, unknown>;

/** Not a paper's: this project's own measurement of the unpatched QEMU, before there was a harness. */
export const QEMU_RR = {
  citation: 'QEMU 10.0 rr=record, measured by this project on a Linux boot and a busy loop',
  foundIn: 'ANCHORS.md, QEMU-NOTES.md',
  testbed: '2 cores of an AMD EPYC',
  bytesPerThousand: 2.7,
  recordSlowdown: 2.9,
  replaySlowdown: 6.0,
} as const satisfies Source & Record<string, unknown>;

export function cite({ citation, foundIn, testbed }: Source): string {
  return `${citation}. ${testbed === null ? '' : `${testbed}. `}Found in ${foundIn}.`;
}
