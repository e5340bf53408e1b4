// SPDX-License-Identifier: Apache-2.0
/** `[guard]` of VM.toml: what is watched of the services in the guest. docs/guard.md */
import type { GuardNumbers } from '../guard/guard.ts';
import type { FileConfig } from './config-schema.ts';

export interface GuardConfig extends Omit<GuardNumbers, 'probes'> {
  readonly probes: readonly { readonly host: string; readonly port: number }[];
  readonly probeEveryMs: number;
  readonly probeTimeoutMs: number;
}

/** Null: there is none, or it is switched off. */
export function guardConfig(raw: FileConfig['guard']): GuardConfig | null {
  if (raw === undefined || !raw.enabled) return null;
  return {
    agent: raw.agent,
    silenceMs: raw.silence_s * 1000,
    onSilence: raw.on_silence,
    probes: raw.probe,
    probeEveryMs: raw.probe_every_ms,
    probeTimeoutMs: raw.probe_timeout_ms,
    probeFailures: raw.probe_failures,
    onProbeFailure: raw.on_probe_failure,
    bootMs: raw.boot_s * 1000,
    resetsMax: raw.resets_max,
  };
}
