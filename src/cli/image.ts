// SPDX-License-Identifier: Apache-2.0
/** `understudy image info IMAGE|VM.toml`: whose an image is, and of which moment. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { describeHolder } from '../arbiter/arbiter.ts';
import { describeMark } from '../arbiter/newest.ts';
import { openArbiter } from '../arbiter/registry.ts';
import { colour } from '../base/colour.ts';
import {
  type ArbiterRecord,
  arbiterRecord,
  type ImageFacts,
  imageFacts,
} from '../daemon/image-facts.ts';
import { loadConfig } from '../vm/config.ts';
import { printFacts, printJson } from './output.ts';

export function register(program: Command): void {
  const image = program.command('image').description('disk images of protected VMs');
  image
    .command('info')
    .description('of which power-on and term an image is, whether it is whole, and the newest')
    .argument('<IMAGE|VM.toml>', "an image, or a VM: all of its images, and its arbiter's record")
    .option('--json', 'one JSON object on stdout')
    .addHelpText(
      'after',
      '\nNothing is changed, and the VM may run. An image is known to be the newest only with a\n' +
        'VM.toml, whose arbiter is asked. Marks are made by `primary` and `backup`, in IMAGE.generation.',
    )
    .action(async (path: string, flags: { json?: true }) => {
      const { facts, record } = await look(path);
      if (flags.json === true) {
        printJson({ images: facts, arbiter: record });
        return;
      }
      for (const one of facts) print(one);
      if (record !== null) printRecord(record);
    });
}

async function look(path: string): Promise<{ facts: ImageFacts[]; record: ArbiterRecord | null }> {
  if (!path.endsWith('.toml')) {
    return { facts: await imageFacts([resolve(path)], null), record: null };
  }
  const { name, disks, replication } = loadConfig(path);
  const images = disks.map(({ image }) => image);
  if (replication === null) return { facts: await imageFacts(images, null), record: null };
  const arbiter = openArbiter(replication.arbiter, replication.arbiterAccess);
  return {
    facts: await imageFacts(images, arbiter),
    record: await arbiterRecord(arbiter, name),
  };
}

function print(facts: ImageFacts): void {
  const { mark, newest } = facts;
  const word = newest === null ? '' : newest ? colour.green(': newest') : colour.yellow(': older');
  process.stdout.write(`${colour.bold(facts.image)}${word}\n`);
  const lines: [string, string][] = [];
  if (mark === null) lines.push(['mark', facts.mark_problem ?? 'none: it was never protected']);
  else {
    lines.push(['VM', mark.name]);
    lines.push(['image', describeMark(mark)]);
    lines.push(['power-on', mark.vm_id]);
    lines.push(['marked', `on ${mark.host}, ${mark.at}`]);
  }
  if (facts.older_because !== null) lines.push(['older', facts.older_because]);
  const joining = 'no: a backup was joining, and did not come to the end (let it join again)';
  const journal = 'with the journal beside it, which the next start puts in';
  lines.push(['whole', facts.incomplete ? joining : facts.journal ? journal : 'yes']);
  printFacts(lines);
}

function printRecord({ name, generation, vm_id: vmId, holder, problem }: ArbiterRecord): void {
  process.stdout.write(`${colour.bold(`arbiter ${name}`)}\n`);
  if (problem !== null) {
    printFacts([['problem', problem]]);
  } else if (holder === null || generation === null) {
    printFacts([['record', 'none of this VM']]);
  } else {
    printFacts([
      ['generation', String(generation)],
      ['power-on', vmId ?? ''],
      ['term', `${holder.term}, of ${describeHolder(holder)}`],
    ]);
  }
}
