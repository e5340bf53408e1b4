// SPDX-License-Identifier: Apache-2.0
/**
 * What of [replication] is not for its protocol, or the protocol not for this accelerator. What
 * would mean nothing is refused by name, and not left to be believed in.
 */
import { UnderstudyError } from '../base/errors.ts';
import { INTERVAL_MS_MAX, type ProtocolOptions } from '../epochs/protocol.ts';
import {
  type AnyProtocolName,
  PROTOCOL_NAMES,
  protocolByName,
  QUORUM,
} from '../epochs/registry.ts';
import { type AccelName, checkExact } from './accel/registry.ts';
import { DIGEST_AT_CUTS } from './digest-every.ts';

interface Chosen extends ProtocolOptions {
  readonly protocol: AnyProtocolName;
  readonly historyMs: number;
  readonly digestEvery: number;
}

/** Keys that only some protocols go by. */
const NUMBERS = {
  epoch_instructions: 'epochInstructions',
  interval_ms: 'intervalMs',
  interval_ms_max: 'intervalMsMax',
  epoch_pages_max: 'epochPagesMax',
  output_wait_us_max: 'outputWaitUsMax',
} as const satisfies Readonly<Record<string, keyof ProtocolOptions>>;

/**
 * @param given what the file has in [replication], before defaults
 * @throws UnderstudyError config-value | not-exact
 */
export function checkForProtocol(
  given: object,
  chosen: Chosen,
  vm: { readonly file: string; readonly accel: AccelName; readonly guard: object | null },
): void {
  const { protocol, disk, historyMs, digestEvery } = chosen;
  const cuts = (name: AnyProtocolName): boolean => protocolByName(name, chosen).cut !== null;
  if (!cuts(protocol)) checkExact(vm, `protocol = "${protocol}"`);
  const refuse = (what: string, why: string, isFor: (name: AnyProtocolName) => boolean): never => {
    const others = PROTOCOL_NAMES.filter(isFor);
    throw new UnderstudyError(
      'config-value',
      `${vm.file}: replication.${what} is not for protocol = "${protocol}": ${why}; ` +
        `leave it out, or take protocol = "${others.join('" or "')}"`,
    );
  };
  const cutsNot = (name: AnyProtocolName): boolean => !cuts(name);
  if (!cuts(protocol) && disk === 'io-log') {
    refuse('disk = "io-log"', 'it ships no disk writes, its backup makes them itself', cuts);
  }
  if (protocol === QUORUM && historyMs > 0) refuse('history', 'replicas keep none', cutsNot);
  if (protocol === QUORUM && vm.guard !== null) {
    throw new UnderstudyError(
      'config-value',
      `${vm.file}: [guard] is not for protocol = "${QUORUM}": its replicas do not hear the guest's ` +
        'second serial port; leave it out, or protect the VM by a pair',
    );
  }
  if (cuts(protocol) && historyMs > 0) refuse('history', 'nobody executes its log again', cutsNot);
  if (!cuts(protocol) && digestEvery === DIGEST_AT_CUTS) {
    refuse('digest_every = "cut"', 'it has no cuts', cuts);
  }
  for (const [key, option] of Object.entries(NUMBERS)) {
    const isFor = (name: AnyProtocolName): boolean => goesBy(name, option, chosen);
    if (key in given && !isFor(protocol)) refuse(key, 'it does not go by that number', isFor);
  }
  checkInterval(chosen, vm.file);
}

function checkInterval({ intervalMs, intervalMsMax }: Chosen, file: string): void {
  if (intervalMsMax === null || intervalMsMax >= intervalMs) return;
  throw new UnderstudyError(
    'config-value',
    `${file}: replication.interval_ms_max = ${intervalMsMax} is less than interval_ms = ${intervalMs}; ` +
      `give one from ${intervalMs} to ${INTERVAL_MS_MAX}, or leave it out`,
  );
}

/** A protocol is data: another number makes another one, or counts for nothing. */
function goesBy(
  name: AnyProtocolName,
  option: (typeof NUMBERS)[keyof typeof NUMBERS],
  options: ProtocolOptions,
): boolean {
  const other = { ...options, [option]: (options[option] ?? 0) + 1 };
  const text = (one: ProtocolOptions): string => JSON.stringify(protocolByName(name, one));
  return text(options) !== text(other);
}
