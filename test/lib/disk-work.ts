// SPDX-License-Identifier: Apache-2.0
/** Load for measurements of pauses: what the guest's shell is told, and what Netperf does. */

/** In the guest, for ever: small synchronous writes and large buffered ones, by turns. */
export const DISK_WORK =
  '(cd /data; while iozone -o -r 4k -s 2m -i 0 -f t1 && iozone -e -r 64k -s 16m -i 0 -i 1 -f t2; ' +
  'do :; done >/dev/null 2>&1) &\n';

export const NETWORK_TESTS = ['TCP_STREAM', 'TCP_MAERTS', 'TCP_RR'] as const;
