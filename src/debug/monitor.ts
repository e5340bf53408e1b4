// SPDX-License-Identifier: Apache-2.0
/** gdb's `monitor …`: where to go, what there is. What is not ours is QEMU's. */
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { formatPoint, keyOf, nameOf, parsePoint, samePoint } from '../base/position.ts';
import { listCheckpoints } from '../checkpoint/manifest.ts';
import { describeRecord } from '../log/describe.ts';
import type { Recording } from '../recording/folder.ts';
import { outputNumber, recordsAfter } from './extent.ts';
import { type Place, placeAt, startBefore } from './place.ts';
import type { Traveller } from './traveller.ts';

/** QEMU's own that only look. */
const HARMLESS = /^(info|x|p|print|gva2gpa)\b/;

const HELP = `goto ICOUNT           go to a position: instructions since power-on
goto checkpoint N     to the N-th checkpoint
goto output N         to the N-th output of the guest since the beginning
goto begin | end      to an end of the recording
checkpoints           list them
where                 the position, and the next records of the log
info … | x | p | gva2gpa   QEMU's own; see its manual
After goto, gdb shows what it has cached: \`maintenance flush register-cache\`.
`;

export interface MonitorContext {
  readonly recording: Recording;
  readonly traveller: Traveller;
  readonly say: (text: string) => void;
}

/** @returns false when the command is QEMU's to answer */
export async function monitor(command: string, context: MonitorContext): Promise<boolean> {
  const [verb = '', ...words] = command.trim().split(/\s+/);
  try {
    switch (verb) {
      case 'goto':
        await goTo(words, context);
        return true;
      case 'checkpoints':
        context.say(checkpointsText(context));
        return true;
      case 'where':
        context.say(await whereText(context));
        return true;
      case 'help':
      case '':
        context.say(HELP);
        return true;
      default:
        if (HARMLESS.test(verb)) return false;
        throw new UnderstudyError('usage', `no command "${verb}"; \`monitor help\` lists them`);
    }
  } catch (error) {
    context.say(`${messageOf(error)}\n`);
    return true;
  }
}

async function goTo(words: readonly string[], context: MonitorContext): Promise<void> {
  const { traveller, say } = context;
  const there = await traveller.goTo(await placeNamed(words, context));
  say(`${there ? '' : 'interrupted, at '}${positionText(traveller)}\n`);
}

async function placeNamed(words: readonly string[], context: MonitorContext): Promise<Place> {
  const { recording, traveller } = context;
  const [what = '', text = ''] = words;
  if (what === 'begin') return placeAt(traveller.extent.begin);
  if (what === 'end') return placeAt(traveller.extent.end);
  if (what === 'checkpoint') {
    const all = listCheckpoints(recording.paths.checkpoints);
    const point = all[number(text) - 1];
    if (point !== undefined) return placeAt(point);
    throw new UnderstudyError('usage', `there is no checkpoint ${text}: ${all.length} in all`);
  }
  if (what === 'output') {
    const record = await outputNumber(recording, number(text));
    if (record !== null) return placeAt(record.point);
    throw new UnderstudyError('usage', `the guest made fewer outputs than ${text}`);
  }
  const point = /^\d/.test(what) ? parsePoint(what.replaceAll(/[_,]/g, '')) : null;
  if (words.length === 1 && point !== null) return placeAt(point);
  throw new UnderstudyError('usage', 'goto ICOUNT | checkpoint N | output N | begin | end');
}

function number(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new UnderstudyError('usage', `"${text}" is no number of one: they count from 1`);
}

function positionText({ place, vtimeNs }: Traveller): string {
  const deliveries = Math.ceil(place.phase / 2);
  const after =
    (deliveries > 0 ? `, after ${deliveries} delivery there` : '') +
    (place.phase % 2 === 0 ? '' : ', before what devices do there');
  return `${nameOf(place.point)}${after}, guest time ${(Number(vtimeNs) / 1e9).toFixed(6)} s`;
}

async function whereText({ recording, traveller }: MonitorContext): Promise<string> {
  const { begin, end } = traveller.extent;
  const records = await recordsAfter(recording, startBefore(traveller.place));
  const next = records.map(describeRecord).join('\nthere too: ') || 'the end';
  return (
    `${positionText(traveller)}\n` +
    `the recording goes from ${nameOf(begin)} to ${keyOf(end)}\nnext record: ${next}\n`
  );
}

function checkpointsText({ recording, traveller }: MonitorContext): string {
  const all = listCheckpoints(recording.paths.checkpoints);
  if (all.length === 0) {
    return (
      'none: going back replays from power-on. `understudy record --checkpoint-every` makes ' +
      'them\n'
    );
  }
  const lines = all.map((point, index) => {
    const here = samePoint(point, traveller.place.point) ? '  <- here' : '';
    return `${String(index + 1).padStart(4)}  ${formatPoint(point)}${here}\n`;
  });
  return lines.join('');
}
