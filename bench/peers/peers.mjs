/** Relays that others made. */
export const PEERS = {}
