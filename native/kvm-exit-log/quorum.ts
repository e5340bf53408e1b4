// SPDX-License-Identifier: Apache-2.0
/**
 * One of 2f+1 replicas (docs/quorum.md): libraft's core, its log and its links, on a thread of the
 * addon. Here are its settings and the few events that somebody has to decide about; who connects
 * to whom is src/quorum/mesh.ts's.
 */
import type { SealNumbers } from '../../src/epochs/protocol.ts';
import { CourierWords, type ReceiveFacts, type ShipFacts } from './courier-words.ts';
import type { ExitRing } from './index.ts';
import type { Link } from './link.ts';
import { type NativeReplica, native } from './native.ts';

export type QuorumRole = 'follower' | 'candidate' | 'leader';

export interface QuorumMember {
  /** From 1; never given to another one. */
  readonly id: number;
  readonly address: string;
}

export interface QuorumOptions {
  /** Its folder, which is there. */
  readonly dir: string;
  /** The VM's: replicas of another one are refused. */
  readonly cluster: bigint;
  readonly id: number;
  /** Who the first replicas are, where the folder is empty: the same for all. Else null. */
  readonly begins: readonly QuorumMember[] | null;
  readonly electionMs: number;
  readonly heartbeatMs: number;
  /** An entry counts once it is synced; else once it is written. */
  readonly durable: boolean;
  /** There will be a VM (`run`): what is agreed on before is kept for it. */
  readonly executes: boolean;
  /** The host's boot: what was not synced does not outlive it. Not 0. */
  readonly boot: bigint;
}

export interface QuorumEvents {
  /** Its log was read; it takes part. */
  opened?(): void;
  role?(role: QuorumRole, term: number): void;
  /** Who leads, as far as it knows; null: nobody. */
  leader?(id: number | null): void;
  /** It leads in this term, and was told all that was agreed on before. */
  ready?(term: number): void;
  /** Its VM was live, and another one leads now: that VM is not what is agreed on. */
  deposed?(leader: number): void;
  /** What is agreed on and is no batch of an exit log, in order, once after each start. */
  committed?(index: number, bytes: Buffer): void;
  /** Console bytes that may be shown: of what is agreed on. */
  console?(bytes: Buffer): void;
  /** The VM of its ring cannot go on: why. */
  broken?(reason: string): void;
  /** The link to that replica is gone; code is peer-lost, -protocol or -untrusted. */
  closed?(peer: number, code: string, message: string): void;
  /** It takes part no more, until it is opened again: why, for people. */
  failed?(reason: string): void;
  /** Nothing is told any more. */
  ended?(): void;
}

export interface QuorumFacts {
  readonly role: QuorumRole;
  readonly term: bigint;
  /** Null: not known. */
  readonly leader: number | null;
  readonly lastIndex: bigint;
  readonly committedIndex: bigint;
  /** Whom it has a link to. */
  readonly connected: readonly number[];
}

interface Told {
  readonly kind: number;
  readonly number: number;
  readonly text: string;
  readonly more: string;
  readonly bytes: Buffer;
}

export class QuorumReplica {
  readonly #native: NativeReplica;
  readonly #words = new CourierWords();
  #flushed: (() => void)[] = [];
  #over = false;
  readonly id: number;

  /** It is opened by its own thread: what is wrong with its folder is told as `failed`. */
  constructor({ begins, ...options }: QuorumOptions, events: QuorumEvents) {
    this.id = options.id;
    this.#native = new native.Replica(
      {
        ...options,
        members: begins ?? [],
        seed: Math.floor(Math.random() * 2 ** 32),
      },
      (kind, number, text, more, bytes) => this.#told(events, { kind, number, text, more, bytes }),
    );
  }

  /** The frame that begins a connection to that replica. */
  hello(to: number): Buffer {
    return this.#native.hello(to);
  }

  /**
   * Takes over a link whose first frame is `hello`, with what it has read beside that.
   * @param answers our own hello goes back: who dialed has said its own already
   * @returns who it is. A link to it from before is gone, which is not told
   * @throws Error peer-protocol for a hello that is none, or of another VM. The link is as before
   */
  attach(link: Link, hello: Uint8Array, answers: boolean): number {
    return this.#native.attach(link.native, hello, answers);
  }

  /** Ends the link to that replica; that is not told. */
  drop(peer: number): void {
    this.#native.drop(peer);
  }

  /** A batch, to be agreed on; from one that does not lead it is lost. */
  propose(bytes: Uint8Array): void {
    this.#native.propose(bytes);
  }

  /** Gives the lead away. */
  transfer(to: number): void {
    this.#native.transfer(to);
  }

  /**
   * The VM of this ring executes what is agreed on, from power-on. Once. Nobody else may seal,
   * commit, fill or listen any more.
   */
  run(ring: ExitRing): void {
    this.#native.run(ring.native);
  }

  /**
   * Its VM is live: at power-on, or where what was agreed on ends, all of which `receiveFacts` says is in
   * the ring. Its outputs leave when a majority has the batch that has them. Told as `broken`: QEMU
   * went live elsewhere.
   */
  lead(options: {
    /** 16 bytes. */
    readonly vmId: Uint8Array;
    readonly term: number;
    readonly seal: SealNumbers;
  }): void {
    this.#native.lead({ ...options, acksNeeded: 1, durable: false });
  }

  /** Seals everything that is in the ring, whatever the policy says, and proposes it. */
  flush(): Promise<void> {
    if (this.#over) return Promise.resolve();
    return new Promise((resolve) => {
      this.#flushed.push(resolve);
      this.#native.flush();
    });
  }

  shipFacts(): ShipFacts {
    this.#look();
    return this.#words.ship();
  }

  receiveFacts(): ReceiveFacts {
    this.#look();
    return this.#words.receive();
  }

  #look(): void {
    if (!this.#over) this.#native.vmFacts(this.#words.words);
  }

  facts(): QuorumFacts {
    const { role, leader, ...more } = this.#native.facts();
    return { ...more, role: role as QuorumRole, leader: leader || null };
  }

  /** Ends it at once; waits for a system call of its own, up to a second. Idempotent. */
  destroy(): void {
    this.#look();
    this.#end();
    this.#native.destroy();
  }

  #end(): void {
    this.#over = true;
    for (const resolve of this.#flushed.splice(0)) resolve();
  }

  #told(events: QuorumEvents, { kind, number, text, more, bytes }: Readonly<Told>): void {
    switch (native.replicaEvents[kind]) {
      case 'opened':
        events.opened?.();
        return;
      case 'role':
        events.role?.(text as QuorumRole, number);
        return;
      case 'leader':
        events.leader?.(number || null);
        return;
      case 'committed':
        events.committed?.(number, bytes);
        return;
      case 'closed':
        events.closed?.(number, text, more);
        return;
      case 'failed':
        events.failed?.(text);
        return;
      case 'ready':
        events.ready?.(number);
        return;
      case 'deposed':
        events.deposed?.(number);
        return;
      case 'console':
        events.console?.(bytes);
        return;
      case 'broken':
        events.broken?.(text);
        return;
      case 'flushed':
        for (const resolve of this.#flushed.splice(0)) resolve();
        return;
      default:
        this.#look();
        this.#end();
        events.ended?.();
    }
  }
}
