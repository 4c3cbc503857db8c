/**
 * Takes the cases of a scenario: every round each participant has its turn, A B C A B C …, so that any two of them can be
 * compared round by round.
 *
 * Rule 1: a participant that fails in a case is out of that case, with the reason in the results; the others go on.
 */
import { PARTICIPANTS, startParticipant } from '../participants.mjs'
import { Absent } from './relay.mjs'

/**
 * Measures one case and returns its record.
 *
 * A case is `{ id, title, scheme, stage, participants, metrics, fresh, measure }`: `measure(relay, stage)` gives a
 * figure for each metric. With `fresh`, every turn has a process of its own; else the first turn warms up and is dropped,
 * unless `warmUp` is false. `mostRounds` bounds the rounds of a case that takes long. `around(stage, work)` surrounds it
 * with what has to be there meanwhile; what it gives `work` becomes part of the stage.
 */
export async function measureCase(one, { programs, gateway, before, rounds, participants, progress }) {
  const stage = { programs, gateway, before, scheme: one.scheme, ...one.stage }
  // What has to be there while the case is measured, besides the gateway.
  if (one.around && !one.surrounded)
    return one.around(stage, (more) =>
      measureCase(
        { ...one, surrounded: true, stage: { ...one.stage, ...more } },
        { programs, gateway, before, rounds, participants, progress },
      ),
    )
  const wanted = one.participants.filter((name) => participants.includes(name))
  const figures = {}
  const absent = {}
  const relays = new Map()
  const start = async (name) => {
    try {
      return await startParticipant(name, stage)
    } catch (error) {
      absent[name] = error.message
      if (!(error instanceof Absent)) progress(`${one.id}: ${name} failed: ${error.message}`)
      return undefined
    }
  }
  const turn = async (name, relay) => {
    try {
      return await one.measure(relay, stage)
    } catch (error) {
      progress(`${one.id}: ${name} failed: ${error.message}`)
      absent[name] = error.message
      delete figures[name]
      relays.delete(name)
      await relay.stop()
      return undefined
    }
  }
  const turns = Math.min(rounds, one.mostRounds ?? rounds)
  try {
    if (!one.fresh) {
      for (const name of wanted) {
        const relay = await start(name)
        if (relay) relays.set(name, relay)
      }
      if (one.warmUp !== false) for (const [name, relay] of relays) await turn(name, relay)
    }
    for (let round = 0; round < turns; round++) {
      progress(`${one.id}: round ${round + 1} of ${turns}`)
      for (const name of wanted) {
        if (name in absent) continue
        const relay = one.fresh ? await start(name) : relays.get(name)
        if (!relay) continue
        const measured = await turn(name, relay)
        if (one.fresh) await relay.stop()
        for (const [metric, figure] of Object.entries(measured ?? {})) {
          figures[name] ??= {}
          figures[name][metric] ??= []
          figures[name][metric].push(figure)
        }
      }
    }
  } finally {
    for (const relay of relays.values()) await relay.stop()
  }
  const { id, title, key, metrics } = one
  return { id, title, key, metrics, figures, absent }
}

/** What is known of the participants that took part. */
export function describe(names) {
  const text = (name) => {
    const { label, less, version } = PARTICIPANTS[name]
    let found
    try {
      found = version?.()
    } catch (error) {
      found = error.message
    }
    return { label, ...(less && { less }), ...(found && { version: found }) }
  }
  return Object.fromEntries(names.map((name) => [name, text(name)]))
}
