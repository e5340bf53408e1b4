// SPDX-License-Identifier: Apache-2.0
/** `understudy demo`: what `npm start` plays. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { EXIT } from '../base/errors.ts';
import { runDemo } from '../demo/demo.ts';
import { FAULTS, type Fault } from '../demo/fault.ts';
import { isFlawless, summaryText } from '../demo/summary.ts';
import { DEFAULT_PROTOCOL, PROTOCOL_NAMES, type ProtocolName } from '../epochs/registry.ts';
import { makeReadyNetwork, removeReadyNetwork, tunIsOpen } from '../lab/ready-network.ts';
import { ACCEL_NAMES, type AccelName, DEFAULT_ACCEL } from '../vm/accel/registry.ts';
import { VCPUS_MAX } from '../vm/config-schema.ts';
import { parseSeconds } from './arguments.ts';
import { printJson, say } from './output.ts';
import { onSignals } from './signals.ts';

interface DemoFlags {
  readonly fault: Fault;
  readonly protocol: ProtocolName;
  readonly accel: AccelName;
  readonly vcpus: number;
  readonly secondsBefore: number;
  readonly secondsAfter: number;
  readonly killAfterMs?: number;
  readonly seed?: number;
  readonly rate: number;
  readonly window: number;
  readonly keep?: string;
  readonly json?: true;
  readonly makeNetwork?: string;
  readonly removeNetwork?: true;
}

function parseWhole(lowest: number, highest: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < lowest || value > highest) {
      throw new InvalidArgumentError(`It must be a whole number from ${lowest} to ${highest}.`);
    }
    return value;
  };
}

export function register(program: Command): void {
  program
    .command('demo')
    .description('watch a Linux VM outlive its host (as root, or after --make-network)')
    .addOption(
      new Option('--fault <WHAT>', 'the host that dies, or the link between the two')
        .choices([...FAULTS])
        .default('primary'),
    )
    .addOption(
      new Option('--protocol <NAME>', 'by which it is protected')
        .choices(PROTOCOL_NAMES)
        .default(DEFAULT_PROTOCOL),
    )
    .addOption(
      new Option('--accel <NAME>', 'by which it is executed')
        .choices(ACCEL_NAMES)
        .default(DEFAULT_ACCEL),
    )
    .option('--vcpus <N>', 'of the VM', parseWhole(1, VCPUS_MAX), 1)
    .option('--seconds-before <S>', 'load before the fault, plus up to 1 s', parseSeconds, 3)
    .option('--seconds-after <S>', 'load after going live', parseSeconds, 3)
    .option('--kill-after-ms <MS>', 'the exact moment of the fault', parseWhole(0, 600_000))
    .option('--seed <N>', 'of the moment and the payloads', parseWhole(0, 0xffffffff))
    .option('--rate <N>', 'requests per second', parseWhole(1, 5000), 300)
    .option('--window <N>', 'requests in flight at most', parseWhole(1, 64), 8)
    .option('--keep <DIR>', 'keep disks, logs and consoles there')
    .option('--json', 'one JSON object on stdout at the end')
    .option('--make-network <USER>', 'as root: a bridge and taps with which USER plays it; no demo')
    .option('--remove-network', 'as root: away with them; no demo')
    .action(async (flags: DemoFlags) => {
      if (flags.makeNetwork !== undefined || flags.removeNetwork === true) {
        network(flags);
        return;
      }
      const seed = flags.seed ?? Math.floor(Math.random() * 1_000_000);
      const interrupted = new AbortController();
      const signals = onSignals(() => interrupted.abort());
      try {
        say(`seed ${seed}`);
        const result = await runDemo(
          {
            fault: flags.fault,
            protocol: flags.protocol,
            accel: flags.accel,
            vcpus: flags.vcpus,
            seed,
            secondsBefore: flags.secondsBefore,
            secondsAfter: flags.secondsAfter,
            faultAfterMs: flags.killAfterMs ?? null,
            ratePerS: flags.rate,
            window: flags.window,
            keep: flags.keep ?? null,
            say,
          },
          interrupted.signal,
        );
        say(summaryText(result));
        if (flags.json === true) printJson(result);
        process.exitCode = isFlawless(result) ? EXIT.ok : EXIT.failure;
      } finally {
        signals.close();
      }
    });
}

function network({ makeNetwork, removeNetwork }: DemoFlags): void {
  if (removeNetwork === true) removeReadyNetwork();
  if (makeNetwork === undefined) return;
  makeReadyNetwork(makeNetwork);
  say(`a bridge and two taps: ${makeNetwork} can play the demo now, until the host restarts`);
  if (!tunIsOpen()) say('warning: only root may open taps here: chmod 666 /dev/net/tun');
}
