// SPDX-License-Identifier: Apache-2.0
/**
 * A line of [replication] for pairs whose test asks nothing about silence: a host of
 * CI's stands still for a third of a second now and then, and then nobody has died.
 * Who is killed is told by the connection that closes, at once as before.
 */
export const PATIENT = 'heartbeat_missed = 30';
