// SPDX-License-Identifier: Apache-2.0
/** Ctrl-C and its kin, for whoever is in charge at the moment. */
export interface SignalSource {
  /**
   * Replaces the listener; it is told at once of signals that came before it.
   * @param listener told how many signals have come, from 1
   */
  listen(listener: (count: number) => void): void;
}
