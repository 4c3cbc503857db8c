/** Reads the examples' Dockerfiles, as far as they go: instructions by stage, continued lines joined, comments left out. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CHECKOUT } from '../../../dist-test/support/tarball.js'

export const EXAMPLES = join(CHECKOUT, 'examples')

export interface Instruction {
  /** upper case: `COPY` */
  readonly name: string
  readonly rest: string
}

export interface Stage {
  /** the base image */
  readonly from: string
  /** after AS */
  readonly name: string | undefined
  readonly instructions: readonly Instruction[]
}

/** Names of the Dockerfiles among the examples. */
export function dockerfileNames(): string[] {
  return readdirSync(EXAMPLES).filter((name) => name.startsWith('Dockerfile'))
}

/** Stages of a Dockerfile among the examples, the one that becomes the image last. */
export function readDockerfile(name: string): readonly Stage[] {
  const text = readFileSync(join(EXAMPLES, name), 'utf8')
  const lines = text.split('\n').filter((line) => !line.startsWith('#'))
  const stages: { from: string; name: string | undefined; instructions: Instruction[] }[] = []
  for (const line of lines.join('\n').replaceAll('\\\n', ' ').split('\n')) {
    const [, name = '', rest = ''] = /^([A-Z]+)\s+(.*\S)/.exec(line) ?? []
    if (name === '' && line.trim() !== '') throw new Error(`not understood: ${line}`)
    if (name === 'FROM') {
      const [, from = '', , stage] = /^(\S+)( AS (\S+))?$/.exec(rest) ?? []
      stages.push({ from, name: stage, instructions: [] })
    } else if (name !== '') {
      stages.at(-1)?.instructions.push({ name, rest: rest.replace(/\s+/g, ' ') })
    }
  }
  return stages
}

/** What stands after each instruction of that name. */
export function all(stage: Stage, name: string): string[] {
  return stage.instructions.filter((it) => it.name === name).map(({ rest }) => rest)
}

/** The last one, which is the one that counts. */
export function last(stage: Stage, name: string): string {
  const found = all(stage, name).at(-1)
  if (found === undefined) throw new Error(`no ${name} in the stage from ${stage.from}`)
  return found
}

/** The words of ENTRYPOINT, in the form that needs no shell. */
export function entrypoint(stage: Stage): string[] {
  return JSON.parse(last(stage, 'ENTRYPOINT'))
}
