// SPDX-License-Identifier: Apache-2.0
/** Two links of the addon that are connected to each other. */
import { until } from '../../bench/stand-ins/courier.ts';
import { Link, Listener } from '../../native/kvm-exit-log/index.ts';
import { goodbye, Told } from './told.ts';

export interface LinkEnd {
  readonly link: Link;
  readonly told: Told;
}

export interface LinkPair {
  readonly a: LinkEnd;
  readonly b: LinkEnd;
  /** All that a has sent before is with b: one more frame is. */
  passed(): Promise<void>;
  drop(): void;
}

export async function linkPair(): Promise<LinkPair> {
  let take: (link: Link) => void = () => {};
  const accepted = new Promise<Link>((resolve) => {
    take = resolve;
  });
  const listener = await Listener.on('127.0.0.1', 0, (link) => take(link));
  const a = { link: Link.to('127.0.0.1', listener.port), told: new Told() };
  a.link.start(a.told);
  const b = { link: await accepted, told: new Told() };
  b.link.start(b.told);
  listener.close();
  await until('it is connected', () => a.link.heardMs() > 0);
  return {
    a,
    b,
    passed: async () => {
      const told = b.told.frames.length;
      a.link.send(goodbye);
      await until('all before it', () => b.told.frames.length > told);
    },
    drop: () => {
      a.link.drop();
      b.link.drop();
    },
  };
}
