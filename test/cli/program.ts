/** The real program as a process, and what it needs around it: a token, a home, a gateway that says 200 to all. */
import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { WebSocketServer } from 'ws'
import { encodeChunk, WIRE_PATHS } from '#src/wire/index.js'
import { makeCa } from '../support/certificates.js'
import { within } from '../support/deadline.js'

export const CLI = fileURLToPath(import.meta.resolve('#src/cli.js'))

/** A token that occurs nowhere else: whoever finds it has found a leak. */
export const CANARY = 'canary-6f1d0c7e5b'

export type Environment = Record<string, string>

/** An environment of which the test knows every variable. */
export function bareEnvironment(t: Test): Environment & { HOME: string } {
  return { PATH: process.env['PATH'] ?? '', HOME: makeFolder(t) }
}

export function makeFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-cli-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The environment of a sandbox in which the proxy is enabled: the flags, a session, a token file, a gateway. */
export async function enabledEnvironment(
  t: Test,
  gateway = startGateway(t),
): Promise<Environment & { HOME: string }> {
  const env = bareEnvironment(t)
  const tokenFile = join(env.HOME, 'session_token')
  writeFileSync(tokenFile, `${CANARY}\n`)
  return {
    ...env,
    CLAUDE_CODE_REMOTE: '1',
    CCR_UPSTREAM_PROXY_ENABLED: '1',
    CLAUDE_CODE_REMOTE_SESSION_ID: 'session-1',
    CCR_UPSTREAM_PROXY_BASE_URL: (await gateway).baseUrl,
    UPSTREAMPROXY_TOKEN_FILE: tokenFile,
  }
}

export interface Gateway {
  readonly baseUrl: string
  /** resolves when the CA has been asked for */
  readonly asked: Promise<unknown>
  /** lets a gateway that `holds` hand out its CA */
  release(): void
}

/** A gateway that hands out a CA (where it `holds`: not yet), answers every CONNECT with 200, and then is silent. */
export async function startGateway(t: Test, { holds = false } = {}): Promise<Gateway> {
  const { certPem } = await makeCa({ name: 'test gateway' })
  const released = new EventEmitter()
  let holding = holds
  const server = createServer(async (request, response) => {
    if (holding) await once(released, 'release')
    response.statusCode = request.url === WIRE_PATHS.caCert ? 200 : 404
    response.end(certPem)
  })
  const asked = once(server, 'request')
  const webSockets = new WebSocketServer({ server, path: WIRE_PATHS.webSocket, perMessageDeflate: false })
  webSockets.on('connection', (socket) => {
    const answer = encodeChunk(Buffer.from('HTTP/1.1 200 Connection Established\r\n\r\n'))
    socket.once('message', () => socket.send(answer))
  })
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const release = () => {
    holding = false
    released.emit('release')
  }
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, release }
}

/** Opens a tunnel through the relay on `port` and leaves it open. */
export async function openTunnel(t: Test, port: string | undefined): Promise<Socket> {
  const socket = connect(Number(port), '127.0.0.1')
  t.teardown(() => socket.destroy())
  // The relay resets it at the end: that is the point of some tests, and no concern of the others.
  socket.on('error', () => undefined)
  socket.write('CONNECT origin.test:443 HTTP/1.1\r\n\r\n')
  const [answer] = await once(socket, 'data')
  if (!String(answer).startsWith('HTTP/1.1 200 ')) throw new Error(`no tunnel: ${answer}`)
  return socket
}

export interface Ended {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

export interface Program {
  readonly process: ChildProcess
  readonly pid: number
  /** resolves when its standard output holds a match; rejects when it has ended without one */
  shows(pattern: RegExp): Promise<RegExpMatchArray>
  readonly ended: Promise<Ended>
}

/** Starts `upstreamproxy ARGS` in a session of its own, so that no terminal of the tester's takes part. */
export function start(t: Test, args: readonly string[], env: Environment): Program {
  return startProcess(t, process.execPath, [CLI, ...args], env)
}

/** Runs `upstreamproxy ARGS` to its end. */
export function runToEnd(t: Test, args: readonly string[], env: Environment, input = ''): Promise<Ended> {
  const program = start(t, args, env)
  program.process.stdin?.end(input)
  return program.ended
}

/** Starts any program; what is left of its process group ends with the test. */
export function startProcess(t: Test, command: string, args: readonly string[], env: Environment): Program {
  // Through env(1), which becomes the command: tap adds variables of its own to whatever is spawned.
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const child = spawn('env', ['-i', ...variables, command, ...args], { env, detached: true, stdio: 'pipe' })
  const pid = child.pid
  if (pid === undefined) throw new Error(`cannot start ${command}`)
  t.teardown(() => {
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // The whole group has ended already, as it should.
    }
  })
  let out = ''
  let err = ''
  const watchers = new Set<() => void>()
  const changed = () => {
    for (const watch of watchers) watch()
  }
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes
    changed()
  })
  child.stderr.on('data', (bytes: Buffer) => {
    err += bytes
  })
  child.stdin.on('error', () => undefined)
  const exited = new Promise<Ended>((resolve) => {
    child.once('close', (status, signal) => resolve({ status, signal, out, err }))
    // Grandchildren may hold the pipes open for longer: then this has to do.
    child.once('exit', (status, signal) => {
      setTimeout(() => resolve({ status, signal, out, err }), FLUSH_MS)
    })
  })
  let over = false
  void exited.then(() => {
    over = true
    changed()
  })
  const shows = (pattern: RegExp) =>
    new Promise<RegExpMatchArray>((resolve, reject) => {
      const watch = () => {
        const match = out.match(pattern)
        if (match === null && !over) return
        watchers.delete(watch)
        if (match === null) reject(new Error(`ended without ${pattern}; out: ${out}; err: ${err}`))
        else resolve(match)
      }
      watchers.add(watch)
      watch()
    })
  const ended = within(exited, `the end of ${command} ${args.join(' ')}`, END_MS)
  // A test that has failed already waits for it no more.
  ended.catch(() => undefined)
  return {
    process: child,
    pid,
    shows: (pattern) => within(shows(pattern), `${pattern} on standard output`),
    ended,
  }
}

const END_MS = 30_000
const FLUSH_MS = 500
