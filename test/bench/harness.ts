/** The benchmark's modules, which are scripts without types, as far as the tests use them. */
const load = (name: string) => import(new URL(`../../bench/${name}`, import.meta.url).href)

export type Programs = Readonly<Record<string, string>>

export interface Gateway {
  readonly ports: Readonly<Record<'plain' | 'tls' | 'full', number>>
  stop(): Promise<void>
}

export interface Weighed {
  readonly pid: number
  readonly port: number
}

export interface Stage {
  readonly programs: Programs
  readonly gateway: Gateway
  readonly scheme: 'ws' | 'wss'
}

interface Transfer {
  measure(relay: Weighed, stage: Stage): Promise<{ readonly cpu: number; readonly throughput: number }>
}

export const { buildPrograms, missingTools } = (await load('harness/build.mjs')) as {
  buildPrograms(): Programs
  missingTools(): string | undefined
}

export const { startGateway } = (await load('harness/gateway.mjs')) as {
  startGateway(programs: Programs): Promise<Gateway>
}

export const { startParticipant } = (await load('participants.mjs')) as {
  startParticipant(name: string, stage: Stage): Promise<Weighed & { stop(): Promise<void> }>
}

export const { transfer } = (await load('scenarios/transfer.mjs')) as {
  transfer(what: { kind: 'up' | 'down' | 'both'; megabytes: number; tunnels?: number }): Transfer
}

export const { ratio } = (await load('harness/statistics.mjs')) as {
  ratio(
    a: readonly number[],
    b: readonly number[],
  ): {
    readonly median: number
    readonly quartiles: readonly [number, number]
    readonly ends: readonly [number, number]
    readonly count: number
  }
}

interface Results {
  readonly cases: readonly {
    readonly id: string
    readonly figures: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>
  }[]
}

export const { goals } = (await load('report/goals.mjs')) as { goals(results: Results): unknown[] }

export const { ratiosTable } = (await load('report/ratios.mjs')) as { ratiosTable(results: Results): string }
