/** A git host: `git http-backend` as a CGI program (RFC 3875) behind HTTPS. Without credentials it answers 401. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { Test } from 'tap'
import { type Origin, startOrigin } from './origin.js'

export interface GitHostOptions {
  readonly certPem: string
  readonly keyPem: string
  /** folder whose bare repositories are served */
  readonly root: string
  /** the Authorization header that lets a client in */
  readonly authorization: string
}

/** Serves every repository under `root`, for reading and pushing. */
export function startGitHost(t: Test, options: GitHostOptions): Promise<Origin> {
  return startOrigin(t, options, async (request, response) => {
    if (request.headers.authorization !== options.authorization) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end()
      return
    }
    await serveCgi(request, response, options.root)
  })
}

async function serveCgi(request: IncomingMessage, response: ServerResponse, root: string): Promise<void> {
  const url = new URL(request.url ?? '/', 'https://git.test')
  const backend = spawn('git', ['http-backend'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      REMOTE_USER: 'pusher',
      REQUEST_METHOD: request.method,
      PATH_INFO: decodeURIComponent(url.pathname),
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers['content-type'],
      CONTENT_LENGTH: request.headers['content-length'],
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'],
      GIT_PROTOCOL: header(request, 'git-protocol'),
    },
  })
  const ended = once(backend, 'exit')
  // The backend may answer, and end, before it has read all.
  pipeline(request, backend.stdin).catch(() => backend.stdin.destroy())
  await relayAnswer(backend.stdout, response)
  await ended
}

// A CGI answer: header lines, `Status:` among them where it is not 200, an empty line, the body.
async function relayAnswer(output: AsyncIterable<Buffer>, response: ServerResponse): Promise<void> {
  let head: Buffer | undefined = Buffer.alloc(0)
  for await (const piece of output) {
    if (head === undefined) {
      if (!response.write(piece)) await once(response, 'drain')
      continue
    }
    head = Buffer.concat([head, piece])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) continue
    for (const line of head.toString('latin1', 0, end).split('\r\n')) {
      const [, name = '', value = ''] = /^([^:]+): *(.*)$/.exec(line) ?? []
      if (name.toLowerCase() === 'status') response.statusCode = Number.parseInt(value, 10)
      else response.setHeader(name, value)
    }
    response.write(head.subarray(end + 4))
    head = undefined
  }
  response.end()
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name]
  return Array.isArray(value) ? value[0] : value
}
