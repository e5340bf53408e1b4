// SPDX-License-Identifier: Apache-2.0
/** Who connects and is not the peer: bounded in number, in bytes, and in what is told of them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Clock } from '../../src/base/clock.ts';
import { printable, printableMessage } from '../../src/base/printable.ts';
import { FRAME } from '../../src/log/frame.ts';
import { Greeter } from '../../src/replica/greet.ts';
import { TOLD_MAX, TurnedAway, WINDOW_MS } from '../../src/replica/turned-away.ts';
import type { Link, LinkEvents } from '../../src/wire/connection.ts';
import { decodeGoodbye, decodeRefuse, encodeGoodbye } from '../../src/wire/messages.ts';
import type { Frame } from '../../src/wire/parser.ts';

const strangers = suite('strangers');

class StillClock implements Clock {
  ms = 0;
  nowMs = (): number => this.ms;
  realtimeNs = (): bigint => 0n;
  after = (): { cancel(): void } => ({ cancel() {} });
}

class FakeLink implements Link {
  readonly remote: string;
  readonly sent: Buffer[] = [];
  readonly events: LinkEvents;
  isOpen = true;

  constructor(remote: string, events: LinkEvents) {
    this.remote = remote;
    this.events = events;
  }

  send(frame: Buffer): boolean {
    this.sent.push(frame);
    return true;
  }
  heardMs = (): null => null;
  beat = (): boolean => true;
  heardBeat = (): null => null;
  end(): void {
    this.isOpen = false;
  }
  destroy(): void {
    this.isOpen = false;
  }
}

const frameOf = (buffer: Buffer): Frame => ({
  type: buffer.readUInt16LE(4),
  buffer,
  offset: 0,
  length: buffer.length,
});

function host() {
  const told: string[] = [];
  const greeter = new Greeter({
    clock: new StillClock(),
    host: {
      judge: () => ({ code: 'busy', message: 'judged', expected: '', actual: '' }),
      admit: () => {
        throw new Error('nobody is admitted here');
      },
    },
    turnedAway: (remote, code, reason) => told.push(`${remote} ${code} ${reason}`),
  });
  const meet = (remote: string): FakeLink => {
    const links: FakeLink[] = [];
    greeter.meet((events) => {
      links.push(new FakeLink(remote, events));
      return links[0] as FakeLink;
    });
    return links[0] as FakeLink;
  };
  return { meet, told };
}

strangers('eight silent ones of one host do not keep another out', () => {
  const { meet, told } = host();
  const silent = Array.from({ length: 8 }, (_, port) => meet(`10.0.0.66:${port}`));
  assert.ok(silent.every((link) => link.isOpen));
  const backup = meet('10.0.0.2:5000');
  assert.ok(backup.isOpen);
  assert.equal(
    silent.map((link) => link.isOpen),
    [false, true, true, true, true, true, true, true],
  );
  assert.match(told[0] ?? '', /^10\.0\.0\.66:0 peer-timeout 8 connections .* 8 from there$/);
  // And those that come after it push out one of their own.
  for (let port = 8; port < 40; port++) meet(`10.0.0.66:${port}`);
  assert.ok(backup.isOpen);
});

strangers('a hello that is larger than any of ours is refused unread', () => {
  const { meet, told } = host();
  const link = meet('10.0.0.66:1');
  const hello = Buffer.alloc(9000);
  hello.writeUInt16LE(FRAME.HELLO, 4);
  link.events.frame(frameOf(hello));
  const refuse = decodeRefuse(frameOf(link.sent[0] as Buffer));
  assert.match(refuse.message, /a hello of 9000 bytes, at most 8192 are read/);
  assert.is(told.length, 1);
  assert.not.ok(link.isOpen);
});

strangers('a flood is counted, not told', () => {
  const clock = new StillClock();
  const told: [string, unknown][] = [];
  const away = new TurnedAway(clock, (event, facts) => told.push([event, facts]));
  for (let n = 0; n < 1000; n++) away.note('10.0.0.66:1', 'peer-protocol', `no frame ${n}`);
  assert.is(told.length, TOLD_MAX);
  assert.is(away.count, 1000);
  assert.is(away.last, '10.0.0.66:1: peer-protocol: no frame 999');
  clock.ms = WINDOW_MS;
  away.note('10.0.0.66:1', 'peer-protocol', 'again');
  assert.equal(
    told.slice(TOLD_MAX).map(([event]) => event),
    ['peers-refused', 'peer-refused'],
  );
  assert.equal(told[TOLD_MAX]?.[1], { untold: 1000 - TOLD_MAX });
});

strangers('their text does not reach a terminal as it is', () => {
  assert.is(printable('\x1b]0;pwn\x07 a\r\nb\u202e\u2028'), '\ufffd]0;pwn\ufffd a / b\ufffd\ufffd');
  assert.is(printable('Größe 3 µs 日本'), 'Größe 3 µs 日本');
  assert.is(printableMessage('x'.repeat(60_000)).length, 2001);
  const said = { reason: 'r\x1b[2J', message: '\x9b1m', lastSequence: 0n, term: 1 };
  const { reason, message } = decodeGoodbye(frameOf(encodeGoodbye(said)));
  assert.equal([reason, message], ['r\ufffd[2J', '\ufffd1m']);
});

strangers.run();
