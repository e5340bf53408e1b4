// SPDX-License-Identifier: Apache-2.0
/** A CA in a temporary folder, and links with its keys over a wire that somebody listens on. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Keys, Link, Listener, type Security } from '../../native/kvm-exit-log/index.ts';
import { Authority } from '../../src/keys/authority.ts';
import { otherSide, type Side, sideName } from '../../src/vm/sides.ts';
import { Told } from './told.ts';

const made: string[] = [];
process.on('exit', () => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true });
});

export function tempAuthority(): Authority {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-keys-'));
  made.push(dir);
  return Authority.init(dir);
}

export function keysIn(folder: string, more: { crl?: boolean; recordsPerKey?: number } = {}): Keys {
  const read = (file: string): string => readFileSync(join(folder, file), 'utf8');
  return new Keys(
    {
      ca: read('ca.pem'),
      cert: read('cert.pem'),
      key: read('key.pem'),
      crl: more.crl === true ? read('crl.pem') : null,
    },
    more.recordsPerKey,
  );
}

/** As a side of that VM has it towards the other one. */
export function securityOf(keys: Keys, vm: string, side: Side): Security {
  return { keys, peerName: sideName(vm, otherSide(side)) };
}

/** Both sides of VM "shop" with good keys. */
export function goodSides(authority = tempAuthority(), recordsPerKey?: number) {
  const one = (side: Side): Security => {
    const more = recordsPerKey === undefined ? {} : { recordsPerKey };
    return securityOf(keysIn(authority.issue('shop', side), more), 'shop', side);
  };
  return { primary: one('primary'), backup: one('backup') };
}

/** Somebody between the two who sees all bytes, and may change or stop them. */
export class Tapped {
  readonly port: number;
  /** What went from who dialed, and back. */
  readonly sent: [Buffer, Buffer] = [Buffer.alloc(0), Buffer.alloc(0)];
  /** The two sockets: towards who dialed, and towards who listens. */
  readonly sockets: Socket[] = [];
  /** Changes what passes. */
  change: (bytes: Buffer, direction: 0 | 1) => Buffer = (bytes) => bytes;
  readonly #close: () => void;

  private constructor(port: number, close: () => void) {
    this.port = port;
    this.#close = close;
  }

  static async to(far: number): Promise<Tapped> {
    let it: Tapped;
    const server = createServer({ allowHalfOpen: true }, (near) => {
      const away = connect({ port: far, host: '127.0.0.1', allowHalfOpen: true });
      it.sockets.push(near, away);
      it.#pass(near, away, 0);
      it.#pass(away, near, 1);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    it = new Tapped(port, () => server.close());
    return it;
  }

  #pass(from: Socket, to: Socket, direction: 0 | 1): void {
    from.setNoDelay(true);
    from.on('data', (bytes: Buffer) => {
      const passed = this.change(bytes, direction);
      this.sent[direction] = Buffer.concat([this.sent[direction], passed]);
      if (!to.write(passed)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    });
    from.on('end', () => to.end());
    from.on('error', () => to.destroy());
  }

  /** Passes nothing on any more in that direction. @returns what came since */
  hold(direction: 0 | 1): () => Buffer {
    let held = Buffer.alloc(0);
    this.change = (bytes, of) => {
      if (of !== direction) return bytes;
      held = Buffer.concat([held, bytes]);
      return Buffer.alloc(0);
    };
    return () => held;
  }

  /** Lengths of the TLS records that went in a direction. */
  records(direction: 0 | 1): number[] {
    const bytes = this.sent[direction];
    const lengths: number[] = [];
    for (let at = 0; at + 5 <= bytes.length; at += 5 + (lengths.at(-1) ?? 0)) {
      lengths.push(bytes.readUInt16BE(at + 3));
    }
    return lengths;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.#close();
  }
}

export interface LinkEnd {
  readonly link: Link;
  readonly told: Told;
}

/** A backup that dialed, and a primary that listens, with a wire that is tapped. */
export async function tappedPair(sides: {
  readonly primary: Security | null;
  readonly backup: Security | null;
}): Promise<{ backup: LinkEnd; primary: LinkEnd; wire: Tapped; close: () => void }> {
  let take: (link: Link) => void = () => {};
  const accepted = new Promise<Link>((resolve) => {
    take = resolve;
  });
  const listener = await Listener.on(
    '127.0.0.1',
    0,
    (link) => take(link),
    () => sides.primary,
  );
  const wire = await Tapped.to(listener.port);
  const backup = { link: Link.to('127.0.0.1', wire.port, sides.backup), told: new Told() };
  backup.link.start(backup.told);
  const primary = { link: await accepted, told: new Told() };
  primary.link.start(primary.told);
  return {
    backup,
    primary,
    wire,
    close: () => {
      for (const { link } of [backup, primary]) link.drop();
      wire.close();
      listener.close();
    },
  };
}
