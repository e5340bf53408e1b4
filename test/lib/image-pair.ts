// SPDX-License-Identifier: Apache-2.0
/** VMs whose epochs go into an image, alone and with a second one that goes on from there. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { CONTROL, type EpochNumbers } from '../../native/kvm-exit-log/index.ts';
import { Epochs, type TakenEpoch } from '../../native/kvm-exit-log/testing.ts';
import { cutsOf, EpochVm, type EpochVmOptions, MEMORY_BYTES, makeDisk } from './epoch-vm.ts';
import { HandLog } from './hand-log.ts';

const TIMEOUT_MS = 120_000;

/** Looks at the rings until something is so. */
export async function until(what: string, is: () => boolean, look = (): void => {}): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  while (!is()) {
    assert.ok(Date.now() < deadline, `timed out: ${what}`);
    look();
    await sleep(1);
  }
}

/** A VM that runs to its end, and an image with a copy of its disk. */
export class FollowedVm {
  readonly vm: EpochVm;
  readonly log: HandLog;
  readonly taken: TakenEpoch[] = [];
  readonly #image: Epochs;
  readonly #disks: readonly [string, string];

  private constructor(vm: EpochVm, disks: readonly [string, string]) {
    this.vm = vm;
    this.log = new HandLog(vm.ring);
    this.#disks = disks;
    this.#image = new Epochs(vm.ring, { memoryBytes: 0, disks: [disks[1]] });
  }

  /** @param dir its own */
  static async start(dir: string, words: string, numbers: EpochNumbers): Promise<FollowedVm> {
    mkdirSync(dir, { recursive: true });
    const disks = [makeDisk(dir), makeDisk(dir, 'copy.raw')] as const;
    return new FollowedVm(await EpochVm.start({ dir, words, numbers }), disks);
  }

  look(): void {
    for (let one = this.#image.take(); one !== null; one = this.#image.take()) this.taken.push(one);
    this.log.look();
  }

  until(what: string, is: () => boolean): Promise<void> {
    return until(what, is, () => this.look());
  }

  /** By itself: then all that has a digest of its cut was equal, and the disks are the same. */
  async ends(): Promise<void> {
    await this.until('it ends', () => this.vm.exit !== null);
    this.look();
    assert.is(this.vm.exit?.reason, 'ended', JSON.stringify(this.vm.exit).slice(0, 500));
    assert.is(BigInt(this.taken.length), this.vm.ring.status().epochs);
    const cuts = cutsOf(this.log.records);
    for (const { ordinal, number, ramDigest } of this.taken) {
      const digest = cuts.get(ordinal)?.digest;
      assert.ok(digest === null || digest?.ram === ramDigest, `epoch ${number}`);
    }
    const [disk, copy] = this.#disks;
    assert.ok(readFileSync(copy).equals(readFileSync(disk)), 'both disks are the same');
  }

  async end(): Promise<void> {
    this.#image.close();
    await this.vm.end();
  }
}

export interface ImagePairOptions extends Pick<EpochVmOptions, 'words' | 'numbers'> {
  /** Its own. */
  readonly dir: string;
  readonly diskInterface?: 'virtio-blk' | 'virtio-scsi';
  /** What the one that waits has: it makes no epochs. */
  readonly digests: boolean;
}

export class ImagePair {
  readonly live: EpochVm;
  readonly standBy: EpochVm;
  readonly log: HandLog;
  /** The live one's, and the other's. */
  readonly disks: readonly [string, string];
  readonly #image: Epochs;
  #last: TakenEpoch | null = null;

  private constructor(
    [live, standBy]: readonly [EpochVm, EpochVm],
    disks: readonly [string, string],
    image: Epochs,
  ) {
    this.live = live;
    this.standBy = standBy;
    this.disks = disks;
    this.#image = image;
    this.log = new HandLog(live.ring);
  }

  /** The shell asks for commands, and the other one waits. */
  static async start({ dir, digests, ...common }: ImagePairOptions): Promise<ImagePair> {
    const there = join(dir, 'there');
    mkdirSync(there, { recursive: true });
    const disks = [makeDisk(dir), makeDisk(there)] as const;
    const live = await EpochVm.start({ dir, ...common });
    const image = new Epochs(live.ring, { memoryBytes: MEMORY_BYTES, disks: [disks[1]] });
    const numbers: EpochNumbers = { everyNs: 0n, packetNs: 0n, inFlight: 0, digests };
    const standBy = await EpochVm.start({ dir: there, ...common, numbers, image });
    const pair = new ImagePair([live, standBy], disks, image);
    await pair.until('it waits', () => standBy.ring.status().state === 'waiting');
    await pair.until('the shell asks', () => pair.log.console.includes('guest# '));
    return pair;
  }

  look(): void {
    for (let one = this.#image.take(); one !== null; one = this.#image.take()) this.#last = one;
    this.log.look();
    this.standBy.ring.hear(this.live.ring.status());
  }

  until(what: string, is: () => boolean): Promise<void> {
    return until(what, is, () => this.look());
  }

  /** SIGKILL; what it has put out until then is there. */
  async kill(): Promise<void> {
    this.live.machine.kill();
    await this.live.machine.exited;
    this.look();
  }

  /** The other one goes on from the last epoch that is whole, which is returned, until it ends. */
  async takeOver(): Promise<TakenEpoch> {
    const taken = this.#last;
    const cut = taken === null ? undefined : cutsOf(this.log.records).get(taken.ordinal);
    assert.ok(taken !== null && cut !== undefined, 'an epoch is whole');
    const { standBy } = this;
    this.#image.handOver();
    standBy.ring.startAt(taken.ordinal + 1n, cut.dataEnd);
    standBy.ring.control(CONTROL.GO_LIVE);
    await until('it is live', () => standBy.ring.status().state !== 'waiting');
    assert.is(standBy.ring.status().state, 'recording', standBy.ring.status().error);
    this.#image.close();
    standBy.logs();
    await until('it ends', () => standBy.exit !== null);
    await standBy.settle();
    assert.is(standBy.exit?.reason, 'ended', JSON.stringify(standBy.exit).slice(0, 500));
    return taken;
  }

  async end(): Promise<void> {
    await this.standBy.end();
    this.live.machine.kill();
    await this.live.end();
  }
}
