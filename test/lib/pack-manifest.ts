// SPDX-License-Identifier: Apache-2.0
/** The vm.json of a recording that can be opened, though nothing of it can be run. */

export const MANIFEST = {
  format: 1,
  log_version: 1,
  name: 'x',
  vm_id: '0'.repeat(32),
  rtc_base: '2026-01-01T00:00:00',
  config_hash: '0'.repeat(64),
  qemu: { build_id: 'b', version: '10' },
  disks: [],
  created: '2026-01-01T00:00:00Z',
  host: { arch: 'x64', cpu: 'c', kernel: 'k', node: 'v20' },
};
