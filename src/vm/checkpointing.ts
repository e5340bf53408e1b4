// SPDX-License-Identifier: Apache-2.0
/**
 * When checkpoints are made. How is QEMU's affair (qemu/exitlog/cut/checkpoint.c), which
 * gets these numbers and takes the first position from there on that is exact.
 */

import { UnderstudyError } from '../base/errors.ts';
import { accelByName } from './accel/registry.ts';
import type { VmConfig } from './config.ts';

export interface CheckpointNumbers {
  /** Instructions from one to the next; 0: not by instructions. */
  readonly everyInstructions: number;
  /** Host time from one to the next; 0: not by time. */
  readonly everyMs: number;
  /** Incremental ones after a full one, before the next full one. */
  readonly chainMax: number;
}

/** A chain is loaded from its full one on, so a longer one starts later. */
export const CHAIN_MAX = 30;
/** More often would only measure the checkpoints themselves. */
const EVERY_INSTRUCTIONS_MIN = 1e6;
const EVERY_MS_MIN = 20;
const EVERY_MAX = 1e15;

export const CHECKPOINT_EVERY_HINT =
  'a time such as "10s" or "500ms", at least 20ms, or a number of instructions such as ' +
  '"1e9i", at least 1e6i';

/** "10s", "2.5s", "500ms", "1e9i", "250000000i"; null: none of these. */
export function checkpointNumbers(text: string): CheckpointNumbers | null {
  const match = /^(\d+(?:\.\d+)?(?:e\d{1,2})?)(ms|s|i)$/.exec(text);
  if (match === null) return null;
  const value = Number(match[1]);
  const none = { everyInstructions: 0, everyMs: 0, chainMax: CHAIN_MAX };
  if (match[2] === 'i') {
    const fits = Number.isInteger(value) && value >= EVERY_INSTRUCTIONS_MIN && value <= EVERY_MAX;
    return fits ? { ...none, everyInstructions: value } : null;
  }
  const ms = Math.round(match[2] === 's' ? value * 1000 : value);
  return ms >= EVERY_MS_MIN && ms <= EVERY_MAX ? { ...none, everyMs: ms } : null;
}

/** Why, by device (qemu/exitlog/cut/checkpoint-state.c refuses the same when it sees them). */
const INEXACT = {
  vga: 'vga = true: the VBE sequencer registers of VGA are in no saved state',
  e1000: 'model = "e1000": the timer that flushes its queue is in no saved state',
  ide: 'IDE and AHCI disks: what they note of a request for a retry is not loaded',
} as const;

/** On request only: what a new backup is given. */
export const ON_REQUEST: CheckpointNumbers = { everyInstructions: 0, everyMs: 0, chainMax: 0 };

type Checkpointable = Pick<VmConfig, 'accel' | 'vga' | 'nics' | 'disks'>;

/** Why no exact checkpoint of this VM can be made, or null. */
export function checkpointRefusal(config: Checkpointable): string | null {
  if (!accelByName(config.accel).isExact) return null; // as QEMU's migration has it
  const isIde = config.disks.some((disk) => disk.interface === 'ide' || disk.interface === 'ahci');
  if (config.vga) return INEXACT.vga;
  if (config.nics.some(({ model }) => model === 'e1000')) return INEXACT.e1000;
  return isIde ? INEXACT.ide : null;
}

/**
 * Refuses, before the VM starts, a device whose checkpoint is not known to be exact.
 * @throws UnderstudyError not-exact
 */
export function checkCheckpointable(config: Checkpointable & Pick<VmConfig, 'file'>): void {
  const why = checkpointRefusal(config);
  if (why === null) return;
  throw new UnderstudyError(
    'not-exact',
    `${config.file}: no checkpoints with this VM. ${why}; record it without --checkpoint-every, ` +
      'or with virtio devices',
  );
}
