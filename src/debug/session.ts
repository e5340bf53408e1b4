// SPDX-License-Identifier: Apache-2.0
/**
 * One gdb. What moves the guest, in either direction, is done here; what looks at it
 * is answered by QEMU's gdbstub; what would change it is refused.
 */
import type { Socket } from 'node:net';
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { nameOf } from '../base/position.ts';
import type { Recording } from '../recording/folder.ts';
import { monitor } from './monitor.ts';
import type { Hit, Place } from './place.ts';
import type { Pool } from './pool.ts';
import { encodePacket, fromHex, RspParser, toHex } from './rsp.ts';
import type { Arrival, Traveller } from './traveller.ts';

export interface SessionOptions {
  readonly socket: Socket;
  readonly recording: Recording;
  readonly logger: Logger;
  readonly pool: Pool;
  /** A traveller of that pool; it stands where the debugger begins. */
  readonly traveller: Promise<Traveller>;
}

/** POSIX signals as gdb numbers them. */
const SIGINT = 2;
const SIGTRAP = 5;
const REFUSED = 'E01';

export class Session {
  /** Resolves when it is over and its inferiors are gone. */
  readonly ended: Promise<void>;
  readonly #options: SessionOptions;
  readonly #parser = new RspParser();
  readonly #queue: string[] = [];
  #working = false;
  #over = false;
  #end: () => void = () => {};
  #current: Traveller | null = null;
  #acks = true;
  /** What a new inferior's stub has to hear too. */
  #supported: string | null = null;
  #general: string | null = null;
  #greeted: object | null = null;
  #lastStop = '';

  constructor(options: SessionOptions) {
    this.#options = options;
    const { socket } = options;
    options.traveller.then(
      (traveller) => {
        this.#current = traveller;
        if (!this.#over) traveller.prepare();
      },
      () => {}, // whoever asks something is told
    );
    this.ended = new Promise<void>((resolve) => {
      this.#end = resolve;
    }).then(() => options.pool.close());
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    socket.on('error', () => {});
    socket.on('close', () => this.close());
  }

  /** Idempotent. */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.socket.destroy();
    this.#end();
  }

  #receive(bytes: Buffer): void {
    // "Again", gdb says when it has waited long; the answer comes, and nothing got lost.
    for (const event of this.#parser.feed(bytes)) {
      if (event.kind === 'break') this.#current?.interrupt();
      else if (event.kind === 'bad') this.#options.socket.write('-');
      else if (event.kind === 'packet') {
        if (this.#acks) this.#options.socket.write('+');
        this.#queue.push(event.text);
      }
    }
    void this.#work();
  }

  async #work(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        if (this.#over) return;
        await this.#answer(next);
      }
    } catch (error) {
      this.#options.logger.error({ err: error }, 'a debugger is let go');
      this.#print(`understudy: ${messageOf(error)}\n`);
      this.#send('X09');
      this.close();
    } finally {
      this.#working = false;
    }
  }

  async #answer(packet: string): Promise<void> {
    const move = movementOf(packet);
    const traveller = await this.#options.traveller;
    if (move !== null) {
      const stop = await this.#move(traveller, move);
      traveller.settled();
      this.#send(stop);
      return;
    }
    const first = packet[0] ?? '';
    if (packet === '?') {
      this.#lastStop ||= this.#stopText(traveller, SIGTRAP, '');
      this.#send(this.#lastStop);
    } else if (first === 'Z' || first === 'z') {
      this.#send(setPoint(traveller, packet));
    } else if ('MXGP'.includes(first) && first !== '') {
      this.#send(REFUSED); // a replay would no longer be one
    } else if (packet === 'QStartNoAckMode') {
      this.#send('OK');
      this.#acks = false;
    } else if (packet.startsWith('qRcmd,')) {
      await this.#monitor(traveller, packet);
      traveller.settled();
    } else if (packet.startsWith('qSupported')) {
      this.#supported = packet;
      const answer = await this.#ask(traveller, packet);
      const swbreak = packet.includes('swbreak+') ? ';swbreak+;hwbreak+' : '';
      this.#send(`${answer};QStartNoAckMode+;ReverseStep+;ReverseContinue+${swbreak}`);
    } else if (first === 'D' || packet.startsWith('vKill')) {
      this.#send('OK');
      this.#options.socket.end();
      this.close();
    } else if (first === 'k') {
      this.close();
    } else if (first === 'F' || first === 'R' || first === '!') {
      this.#send('');
    } else {
      if (first === 'H' && packet[1] === 'g') this.#general = packet;
      this.#send(await this.#ask(traveller, packet));
    }
  }

  async #ask(traveller: Traveller, packet: string): Promise<string> {
    try {
      return await this.#askOnce(traveller, packet);
    } catch (error) {
      await this.#recover(traveller, traveller.place, error);
      return this.#askOnce(traveller, packet);
    }
  }

  /** An inferior has died, but the recording is there: another one, where this one was. */
  async #recover(traveller: Traveller, place: Place, error: unknown): Promise<void> {
    if (this.#over) throw error;
    this.#options.logger.error({ err: error }, 'an inferior has died');
    await traveller.recover(place);
  }

  /** Asks QEMU's stub; a new one hears first what the one before was told. */
  async #askOnce(traveller: Traveller, packet: string): Promise<string> {
    const { inferior } = traveller;
    if (this.#greeted !== inferior) {
      this.#greeted = inferior;
      if (this.#supported !== null) await inferior.ask(this.#supported);
      if (this.#general !== null) await inferior.ask(this.#general);
    }
    return inferior.ask(packet);
  }

  async #move(traveller: Traveller, move: Movement): Promise<string> {
    const before = traveller.place;
    let arrival: Arrival;
    try {
      arrival = await MOVES[move](traveller);
    } catch (error) {
      this.#print(`understudy: ${messageOf(error)}\n`);
      await this.#recover(traveller, before, error);
      arrival = { why: 'there', hit: null };
    }
    for (const hit of arrival.hits ?? []) this.#tellWriter(hit);
    this.#general = null; // gdb chooses a thread again after each stop
    this.#lastStop = this.#stopFor(traveller, arrival, move);
    return this.#lastStop;
  }

  /** gdb itself would name the instruction that happens to be next. */
  #tellWriter({ by, address, place }: Hit): void {
    if (by === null) return;
    const when = place.phase % 2 === 0 ? 'asked for by the instruction' : 'not by an instruction';
    this.#print(
      `understudy: 0x${address.toString(16)} is written at ${nameOf(place.point)}, ${when}: ${by}\n`,
    );
  }

  #stopFor(traveller: Traveller, { why, hit }: Arrival, move: Movement): string {
    if (why === 'pause') return this.#stopText(traveller, SIGINT, '');
    if (why === 'begin' || why === 'end') {
      return this.#stopText(traveller, SIGTRAP, `replaylog:${why};`);
    }
    if (hit === null) return this.#stopText(traveller, SIGTRAP, '');
    if (hit.kind !== 'breakpoint') {
      return this.#stopText(traveller, SIGTRAP, `${hit.kind}:${hit.address.toString(16)};`);
    }
    // Only forward, and only if gdb has said that it understands.
    const tells = this.#supported?.includes('swbreak+') === true && !move.startsWith('back');
    const soft = traveller.points.has(`0,${hit.address.toString(16)},1`);
    return this.#stopText(traveller, SIGTRAP, tells ? `${soft ? 'sw' : 'hw'}break:;` : '');
  }

  #stopText({ cpu }: Traveller, signal: number, facts: string): string {
    const thread = String(cpu + 1).padStart(2, '0');
    const id = this.#supported?.includes('multiprocess+') === true ? `p01.${thread}` : thread;
    return `T${String(signal).padStart(2, '0')}${facts}thread:${id};`;
  }

  async #monitor(traveller: Traveller, packet: string): Promise<void> {
    const command = fromHex(packet.slice('qRcmd,'.length));
    const say = (text: string): void => this.#print(text);
    const { recording } = this.#options;
    if (!(await monitor(command, { recording, traveller, say }))) {
      await traveller.inferior.ask(packet, (hex) => this.#send(`O${hex}`));
    }
    this.#send('OK');
  }

  #print(text: string): void {
    for (let at = 0; at < text.length; at += 1000) {
      this.#send(`O${toHex(text.slice(at, at + 1000))}`);
    }
  }

  #send(text: string): void {
    if (this.#over) return;
    this.#options.socket.write(encodePacket(text));
  }
}

const MOVES = {
  step: (t: Traveller) => t.stepForward(),
  continue: (t: Traveller) => t.continueForward(),
  backStep: (t: Traveller) => t.stepBackward(),
  backContinue: (t: Traveller) => t.continueBackward(),
} as const;

type Movement = keyof typeof MOVES;

/** Null: the packet moves nothing. */
function movementOf(packet: string): Movement | null {
  if (packet === 'bs') return 'backStep';
  if (packet === 'bc') return 'backContinue';
  if (/^[cC]/.test(packet)) return 'continue';
  if (/^[sS]/.test(packet)) return 'step';
  // One vCPU steps, the others go on: all take turns, and the next turn is one step.
  if (packet.startsWith('vCont;')) return /;[sS]/.test(packet) ? 'step' : 'continue';
  return null;
}

/** QEMU hears of it when the guest moves next. */
function setPoint({ points }: Traveller, packet: string): string {
  const match = /^([Zz])([0-4],[0-9a-fA-F]+,[0-9a-fA-F]+)$/.exec(packet);
  if (match === null) return '';
  const [, verb, point = ''] = match;
  if (verb === 'Z') points.add(point.toLowerCase());
  else points.delete(point.toLowerCase());
  return 'OK';
}
