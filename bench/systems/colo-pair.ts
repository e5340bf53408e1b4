// SPDX-License-Identifier: Apache-2.0
/**
 * The words of a COLO pair, as QEMU's docs/COLO-FT.txt has it: the NIC's packets are mirrored
 * to the secondary and both sides' answers compared on the primary; the primary's writes go to
 * the secondary's disk as well, and the secondary's own into images that a checkpoint empties.
 *
 *   client ── tap ── primary ──mirror──▶ secondary
 *                    compare ◀─answers─┘
 *
 * What passes between two hosts is TCP on the namespace's loopback device, as for a pair of
 * ours; what the document sends through TCP to itself is a UNIX socket here.
 */
import { join } from 'node:path';

const HOST = '127.0.0.1';
const PORT = { mirror: 9003, compare: 9004, migration: 9998, nbd: 9999 } as const;
/** virtio-net on a tap has a header before each packet: every filter has to know. */
const HEADER = 'vnet_hdr_support=on';

export interface SideFiles {
  /** For sockets and images of its own. */
  readonly dir: string;
  /** The disk at power-on, and of the primary from then on. */
  readonly image: string;
}

export const MIGRATION = `tcp:${HOST}:${PORT.migration}`;
export const NBD_SERVER = { type: 'inet', data: { host: HOST, port: String(PORT.nbd) } } as const;
/** The block node that the secondary exports, and the primary writes to. */
export const EXPORT = 'parent0';
/** The guest's disk on both sides: a quorum of one, to which a second is added. */
export const DISK = 'disk0';

/** HMP's drive_add: block/replication.c in its mode for the primary. */
export const ADD_REPLICATION =
  `drive_add -n buddy driver=replication,mode=primary,file.driver=nbd,file.host=${HOST},` +
  `file.port=${PORT.nbd},file.export=${EXPORT},node-name=replication0`;

export function qmpSocket({ dir }: SideFiles): string {
  return join(dir, 'qmp');
}

/** The secondary's own writes, and what the primary has overwritten below them. */
export function overlays({ dir }: SideFiles): { readonly active: string; readonly hidden: string } {
  return { active: join(dir, 'active.qcow2'), hidden: join(dir, 'hidden.qcow2') };
}

export function primaryWords(files: SideFiles): string[] {
  return [
    ...common(files),
    ...['-S', '-trace', 'colo_vm_state_change'],
    ...chardevs({
      mirror0: `host=${HOST},port=${PORT.mirror},server=on,wait=off`,
      compare1: `host=${HOST},port=${PORT.compare},server=on,wait=off`,
      compare0: `path=${escaped(join(files.dir, 'compare'))},server=on,wait=off`,
      'compare0-0': `path=${escaped(join(files.dir, 'compare'))}`,
      out: `path=${escaped(join(files.dir, 'out'))},server=on,wait=off`,
      out0: `path=${escaped(join(files.dir, 'out'))}`,
    }),
    ...objects(
      `filter-mirror,id=m0,netdev=net0,queue=tx,outdev=mirror0,${HEADER}`,
      `filter-redirector,id=redire0,netdev=net0,queue=rx,indev=out,${HEADER}`,
      `filter-redirector,id=redire1,netdev=net0,queue=rx,outdev=compare0,${HEADER}`,
      'iothread,id=iothread1',
      'colo-compare,id=comp0,primary_in=compare0-0,secondary_in=compare1,outdev=out0,' +
        `iothread=iothread1,${HEADER}`,
    ),
  ];
}

export function secondaryWords(files: SideFiles): string[] {
  return [
    ...common(files),
    // The primary decides when the VM ends, also if the secondary's guest is ahead of it.
    '-no-shutdown',
    ...['-incoming', MIGRATION],
    ...chardevs({
      red0: `host=${HOST},port=${PORT.mirror}`,
      red1: `host=${HOST},port=${PORT.compare}`,
    }),
    ...objects(
      `filter-redirector,id=f1,netdev=net0,queue=tx,indev=red0,${HEADER}`,
      `filter-redirector,id=f2,netdev=net0,queue=rx,outdev=red1,${HEADER}`,
      `filter-rewriter,id=rew0,netdev=net0,queue=all,${HEADER}`,
    ),
  ];
}

/** The primary's disk: what the second one is added to. */
export function primaryDrives({ image }: SideFiles): string[] {
  return ['-drive', quorumOf(`children.0.driver=raw,children.0.file.filename=${escaped(image)}`)];
}

export function secondaryDrives(files: SideFiles): string[] {
  const { active, hidden } = overlays(files);
  return [
    '-blockdev',
    `driver=raw,node-name=${EXPORT},file.driver=file,file.filename=${escaped(files.image)}`,
    '-drive',
    `if=none,id=childs0,driver=replication,mode=secondary,top-id=${DISK},file.driver=qcow2,` +
      `file.file.filename=${escaped(active)},file.backing.driver=qcow2,` +
      `file.backing.file.filename=${escaped(hidden)},file.backing.backing=${EXPORT}`,
    ...['-drive', quorumOf('children.0=childs0')],
  ];
}

function quorumOf(child: string): string {
  return `if=none,id=${DISK},driver=quorum,read-pattern=fifo,vote-threshold=1,${child}`;
}

function common(files: SideFiles): string[] {
  return ['-msg', 'timestamp=on', '-qmp', `unix:${escaped(qmpSocket(files))},server=on,wait=off`];
}

function chardevs(all: Readonly<Record<string, string>>): string[] {
  return Object.entries(all).flatMap(([id, rest]) => ['-chardev', `socket,id=${id},${rest}`]);
}

function objects(...all: readonly string[]): string[] {
  return all.flatMap((one) => ['-object', one]);
}

/** QEMU's option syntax: a comma in a value is doubled. */
function escaped(value: string): string {
  return value.replaceAll(',', ',,');
}
