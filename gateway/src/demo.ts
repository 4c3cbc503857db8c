/**
 * `upstreamproxy-gateway demo`: the whole path on one machine, with a real client, told as a short story.
 *
 * Rule 1: exit status 0 means that every claim of the story was checked by code, and held.
 * Rule 2: nothing is left behind, however it ends: no file, no process, no listener.
 * Rule 3: no secret is printed, though all of them end with the demo.
 */
import { constants } from 'node:os'
import { type Claim, claimOfLeftovers, claimsAbout } from './demo/claims.js'
import { type Observed, observe } from './demo/observe.js'
import { type Stage, setStage } from './demo/stage.js'
import { opening, plainStyle, scenes, terminalStyle, trouble, verdict } from './demo/story.js'

/** Plays it. Resolves to the exit status: 0, 1 where a claim did not hold, 128 + signal where it was interrupted. */
export async function runDemo(): Promise<number> {
  const started = performance.now()
  const print = (text: string) => void process.stdout.write(text)
  const style = wantsColour() ? terminalStyle : plainStyle
  // A reader that leaves early (`| head`) must not keep us from clearing up.
  process.stdout.on('error', () => undefined)
  const stop = stopper()
  let stage: Stage | undefined
  let observed: Observed | undefined
  let claims: Claim[] = []
  try {
    stage = await setStage()
    print(opening(stage, style))
    observed = await observe(stage, stop.signal)
    print(scenes(stage, observed, style))
    claims = claimsAbout(stage, observed)
  } catch (error) {
    if (stop.interruptedBy() === undefined) print(trouble(error, stage, style))
  } finally {
    await stage?.clear()
    stop.release()
  }
  const signal = stop.interruptedBy()
  if (signal !== undefined) {
    process.stderr.write('\nInterrupted. Nothing is left behind.\n')
    return 128 + constants.signals[signal]
  }
  if (stage === undefined || observed === undefined) return 1
  claims.push(await claimOfLeftovers(stage, observed))
  print(verdict(claims, { stage, observed, tookMs: performance.now() - started }, style))
  return claims.every(({ holds }) => holds) ? 0 : 1
}

function wantsColour(): boolean {
  return process.stdout.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb'
}

// Aborts at a signal that asks us to end, and when it all takes too long.
function stopper() {
  const controller = new AbortController()
  let interruptedBy: NodeJS.Signals | undefined
  const interrupt = (signal: NodeJS.Signals) => {
    interruptedBy ??= signal
    controller.abort(new Error(`interrupted by ${signal}`))
  }
  for (const signal of ENDING_SIGNALS) process.on(signal, interrupt)
  const deadline = setTimeout(() => {
    controller.abort(new Error(`it did not come to an end within ${DEADLINE_MS / 1000} s`))
  }, DEADLINE_MS)
  return {
    signal: controller.signal,
    interruptedBy: () => interruptedBy,
    release() {
      clearTimeout(deadline)
      for (const signal of ENDING_SIGNALS) process.off(signal, interrupt)
    },
  }
}

const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const DEADLINE_MS = 30_000
