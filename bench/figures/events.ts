// SPDX-License-Identifier: Apache-2.0
/** Kemari 2007's second: how many events are synced, and how long one transfer takes. */
import { type Bar, barColumns } from '../charts/bars.ts';
import { shortNumber } from '../charts/scale.ts';
import { type Drawing, heading, stacked, svgFile } from '../charts/svg.ts';
import { tableDrawing } from '../charts/table.ts';
import { cite, KEMARI_2007 } from '../papers.ts';
import type { SystemFacts } from '../results.ts';
import { Summary } from '../summary.ts';
import { eventsByKind } from './events-by-kind.ts';
import {
  absences,
  briefly,
  colourOfSystem,
  type Field,
  type Figure,
  isNowhere,
  percent,
  protocolsOf,
} from './figure.ts';

/** A sync is an epoch, sent and acknowledged. Names of facts of runs, the first that is there. */
const MEASURES = [
  {
    name: 'syncs_per_s',
    title: 'Events synced: epochs ended, sent and acknowledged, per second',
    axis: 'epochs per second while protected',
    unit: '/s',
    facts: ['epochs_per_s'],
  },
  {
    name: 'bytes_per_sync',
    title: 'What one transfer carries',
    axis: 'bytes on the link per epoch, mean',
    unit: 'bytes',
    facts: ['epoch_link_bytes_mean', 'epoch_bytes_mean'],
  },
  {
    name: 'transfer_us',
    title: "Mean time of one transfer: from an epoch's seal to its acknowledgement",
    axis: 'µs, mean',
    unit: 'µs',
    facts: ['epoch_ack_mean_us'],
  },
] as const;

const BY_KIND = 'Events synced, by kind';

export const events: Figure = {
  name: 'events',
  title: 'How many events are synced, and what one transfer takes',
  source: `After the figure of ${cite(KEMARI_2007)}`,
  make(results) {
    const summary = new Summary(results);
    const protocols = protocolsOf(results);
    const notes = absences(summary, protocols);
    const rows: (readonly Field[])[] = [];
    const charts = MEASURES.flatMap((measure): Drawing[] => {
      const groups = results.workloads.map((workload) => ({
        title: workload.title,
        bars: protocols.flatMap((system): Bar[] => {
          const why = summary.whyNot(workload.name, system.name);
          const value = factOf(summary, workload.name, system.name, measure.facts);
          rows.push([measure.name, workload.name, system.name, value, why]);
          // Those that have nothing anywhere are named once, below.
          if (why !== null && notes.some((note) => note.includes(system.title))) return [];
          const none = why ?? 'not measured';
          return [
            {
              label: system.title,
              colour: colourOfSystem(system.name),
              value,
              note: value === null ? briefly(none) : `${shortNumber(value)} ${measure.unit}`,
            },
          ];
        }),
      }));
      const measured = groups.filter(({ bars }) => bars.some(({ value }) => value !== null));
      if (measured.length === 0) {
        notes.push(`${measure.title}: no run has it.`);
        return [];
      }
      const absent = protocols.filter((system) => isNowhere(summary, system));
      if (absent.length > 0) measured.push({ title: 'Others', bars: absent.map(noneOf(summary)) });
      const chart = barColumns(
        { axis: `${measure.axis} (log)`, groups: measured, log: true, plotWidth: 200 },
        2,
      );
      return [heading(measure.title), chart];
    });
    const byKind = eventsByKind(summary, protocols);
    rows.push(...byKind.rows);
    if (byKind.drawing === null) notes.push(`${BY_KIND}: no run has it.`);
    notes.push(
      "The paper's bars by workload are pictures in our copy of the source, which gives only " +
        'these ranges. There, a sync is a transfer of dirtied pages while the VM stands still; ' +
        'so it is here under kemari and kemari-every. Under remus the VM runs on meanwhile, and ' +
        'under lockstep the log of its exits is transferred.',
      'A sync has one kind: that of the first event since the sync before. What none of them ' +
        'is for ended by time.',
    );
    const drawn = [
      paperTable(),
      ...(byKind.drawing === null ? [] : [heading(BY_KIND), byKind.drawing]),
      ...charts,
    ];
    return {
      svg: svgFile(events.title, events.source, stacked(drawn, 12), notes),
      columns: ['measure', 'workload', 'system', 'value', 'note'],
      rows,
      notes,
    };
  },
};

function factOf(
  summary: Summary,
  workload: string,
  system: string,
  names: readonly string[],
): number | null {
  for (const name of names) {
    const value = summary.fact(workload, system, name);
    if (value !== null) return value;
  }
  return null;
}

/** In place of its bar: why no run of any workload has it. */
function noneOf(summary: Summary): (system: SystemFacts) => Bar {
  return ({ name, title }) => {
    const [first] = summary.results.workloads;
    const why = first === undefined ? null : summary.whyNot(first.name, name);
    return { label: title, colour: '#ffffff', value: null, note: briefly(why ?? 'not measured') };
  };
}

function paperTable(): Drawing {
  const { eventsReduced, transferTimes } = KEMARI_2007;
  const [least, most] = eventsReduced;
  return tableDrawing(
    [
      { title: 'Kemari: proposed protocol against sync on every event', widthMax: 420 },
      { title: '', align: 'right' },
    ],
    [
      {
        cells: ['number of events to sync', `${percent(-least)} to ${percent(-most)}`],
        paper: true,
      },
      {
        cells: [
          'average time to transfer dirtied pages',
          `× ${transferTimes[0]} to × ${transferTimes[1]}`,
        ],
        paper: true,
      },
    ],
  );
}
