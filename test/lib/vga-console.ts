// SPDX-License-Identifier: Apache-2.0
/**
 * What a guest does with its VGA card, typed at its serial shell: text that scrolls,
 * then the modes in which the card itself changes video memory. Registers are reached
 * through the card's second BAR (QEMU docs/specs/standard-vga.rst).
 */
import type { Running } from './command.ts';

interface Step {
  readonly type: readonly string[];
  /** What the guest answers; it does not show in what was typed. */
  readonly answer: string;
}

const STEPS: readonly Step[] = [
  {
    // Coloured lines for many screens; then what the screen shows, read from video memory.
    // The kernel's own lines, some of them seconds after boot, would scroll ours away.
    type: [
      'echo 1 >/proc/sys/kernel/printk',
      'for n in $(seq 120); do printf "\\033[3$((n % 8))mtty0 line $n\\n"; done >/dev/tty0',
      'echo "screen-$(fold -w 80 /dev/vcs1 | grep -c \'^tty0 line 1..\')-lines"',
    ],
    answer: 'screen-21-lines',
  },
  {
    // A scroll region, insertions and deletions: copies within video memory.
    type: [
      'printf "\\033[5;20r\\033[20;1H" >/dev/tty0',
      'for n in $(seq 40); do printf "region $n\\n\\033[2L\\033[3M\\033[4P\\033[20;1H"; done >/dev/tty0',
      'printf "\\033[r\\033[2J\\033[Hclean\\n" >/dev/tty0; clear >/dev/tty0',
      'echo "region-$(($? + 1))-scrolled"',
    ],
    answer: 'region-1-scrolled',
  },
  {
    // Bochs VBE on, twice: the card clears the frame each time (vbe_ioport_write_data).
    type: [
      'regs=$(sed -n 3p /sys/bus/pci/devices/0000:00:02.0/resource | cut -d" " -f1)',
      'frame=$(sed -n 1p /sys/bus/pci/devices/0000:00:02.0/resource | cut -d" " -f1)',
      'vbe() { devmem $((regs + 0x500 + 2 * $1)) 16 $2; }',
      'vbe 1 640; vbe 2 480; vbe 3 32; vbe 4 0x41',
      'for n in $(seq 0 10); do devmem $((frame + n * 4100)) 32 0x00c0ffee; done',
      'vbe 4 0; vbe 4 0x41',
      'echo "frame-$(devmem $((frame + 4100)))-cleared"; vbe 4 0',
    ],
    answer: 'frame-0x00000000-cleared',
  },
  {
    // Chain-4 with half of the planes: every byte goes through vga_mem_writeb(), at
    // 0xa0000, where VBE left the window.
    type: [
      'sequencer() { devmem $((regs + 0x404)) 16 $1; }',
      'graphics() { devmem $((regs + 0x40e)) 16 $1; }',
      'sequencer 0x0e04; sequencer 0x0502; graphics 0x4005',
      'for n in $(seq 0 10); do devmem $((0xa0000 + n * 400)) 8 $n; done',
      'chained=$(devmem $((0xa0000 + 10 * 400)) 8)',
      'sequencer 0x0302; sequencer 0x0204; graphics 0x1005',
      'echo "chain-$chained-read"',
    ],
    answer: 'chain-0x0A-read',
  },
];

/** Goes through all of it and leaves the shell. */
export async function useVga(running: Running): Promise<Record<string, unknown>> {
  await running.printed('guest# ');
  for (const { type, answer } of STEPS) {
    for (const line of type) running.child.stdin?.write(`${line}\n`);
    await running.printed(answer);
  }
  running.child.stdin?.write('exit\n');
  return { steps: STEPS.length };
}
