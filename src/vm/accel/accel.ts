// SPDX-License-Identifier: Apache-2.0
/**
 * An accelerator as data: how QEMU is to execute the guest, and what that gives. Everything
 * else asks for no name; an accelerator is a file of this folder and a line in accels.ts.
 */

export interface Accel {
  readonly name: string;
  /**
   * What it executes can be executed again, instruction by instruction: a log is whole, and
   * can be recorded, replayed, shipped. Else a guest is only as migratable as QEMU has it.
   */
  readonly isExact: boolean;
  /** QEMU's own options for it; `codeMib`: room for translated code. */
  readonly args: (codeMib: number) => readonly string[];
  /** Words for -exitlog (qemu/exitlog/exitlog.c). */
  readonly exitlog: readonly string[];
  /** What is not to be had with it, for people; null: nothing. */
  readonly lacks: string | null;
}
