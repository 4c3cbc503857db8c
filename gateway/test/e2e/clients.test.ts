import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { matchWhole } from '../../../dist-test/support/match-whole.js'
import { needing, pythonProgram } from './clients.js'
import { PACKAGE } from './origins/registry.js'
import { startWorld } from './world.js'

const world = await startWorld(t)
const { apiKey, gitAuthorization, registryAuthorization } = world.organisation.headers

t.test('git clones and pushes over HTTPS with credentials that it never had', needing('git'), async (t) => {
  const sandbox = world.sandbox()
  makeRepository(join(world.gitRoot, 'project.git'), sandbox.home)
  const script = `set -e
    git clone -q "$1" project
    cd project
    cat README
    git checkout -q -b work
    echo 'from the sandbox' > NEW
    git add NEW
    git -c user.name=sandbox -c user.email=sandbox@example.test commit -q -m 'from the sandbox'
    git push -q origin work
    git ls-remote origin work`
  const url = world.url('git', '/project.git')
  const { status, out, err } = await sandbox.run(['sh', '-c', script, 'sh', url])
  t.equal(status, 0, err)
  t.match(out, 'from the origin')
  const pushed = git(['--git-dir', join(world.gitRoot, 'project.git'), 'show', 'work:NEW'])
  t.equal(pushed, 'from the sandbox\n')

  t.ok(world.git.requests.length >= 5, 'clone, push and ls-remote')
  for (const { path, headers } of world.git.requests)
    t.equal(headers['authorization'], gitAuthorization, path)
  const { requests } = await sandbox.audit({ connects: 3, requests: world.git.requests.length })
  t.ok(requests.every(({ injected, rule }) => injected.includes('authorization') && rule === '4'))
  matchWhole(
    t,
    requests.map(({ method, path, status }) => `${method} ${path} ${status}`),
    [
      'GET /project.git/info/refs?service=* 200',
      'POST /project.git/git-upload-pack 200',
      'POST /project.git/git-upload-pack 200',
      'GET /project.git/info/refs?service=* 200',
      'POST /project.git/git-receive-pack 200',
      'GET /project.git/info/refs?service=* 200',
      'POST /project.git/git-upload-pack 200',
    ],
  )
})

t.test('npm installs a package from a registry that wants a token', needing('npm'), async (t) => {
  const sandbox = world.sandbox()
  const project = join(sandbox.home, 'project')
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{ "private": true }\n')
  const flags = [
    '--no-audit',
    '--no-fund',
    '--no-update-notifier',
    `--registry=${world.url('registry', '/')}`,
  ]
  const { status, err } = await sandbox.run(['npm', 'install', ...flags, PACKAGE.name], { cwd: project })
  t.equal(status, 0, err)
  const installed = join(project, 'node_modules', PACKAGE.name, 'index.js')
  t.match(readFileSync(installed, 'utf8'), 'hello from the registry')
  t.same(
    world.registry.requests.map(({ path }) => path),
    [`/${PACKAGE.name}`, `/${PACKAGE.name}/-/${PACKAGE.name}-${PACKAGE.version}.tgz`],
  )
  for (const { headers, path } of world.registry.requests) {
    t.equal(headers['authorization'], registryAuthorization, path)
  }
  const connections = new Set(world.registry.requests.map(({ connection }) => connection))
  const { requests } = await sandbox.audit({ connects: connections.size, requests: 2 })
  t.ok(requests.every(({ injected, status }) => injected.includes('authorization') && status === 200))
})

t.test('Node’s https with https-proxy-agent gets through, for GET and POST', async (t) => {
  const sandbox = world.sandbox()
  const program = fileURLToPath(new URL('clients/node-agent.js', import.meta.url))
  const { status, out, err } = await sandbox.run([process.execPath, program, world.url('api', '/node')])
  t.equal(status, 0, err)
  const answers = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  matchWhole(t, answers, [
    { status: 200, body: { method: 'GET', path: '/node', bodyBytes: 0 } },
    { status: 200, body: { method: 'POST', path: '/node', bodyBytes: 9 } },
  ])
  const seen = world.api.requests.filter(({ path }) => path === '/node')
  matchWhole(t, seen, [{ headers: { 'x-api-key': apiKey } }, { headers: { 'x-api-key': apiKey } }])
  const { requests } = await sandbox.audit({ connects: 1, requests: 2 })
  matchWhole(t, requests, [
    { method: 'GET', path: '/node', injected: ['x-api-key'], status: 200 },
    { method: 'POST', path: '/node', injected: ['x-api-key'], status: 200, bytesUp: 9 },
  ])
})

t.test('Python’s urllib gets through, for GET and POST', needing('python3'), async (t) => {
  const sandbox = world.sandbox()
  const script = `
import json, sys, urllib.request
print(json.dumps(json.load(urllib.request.urlopen(sys.argv[1]))))
print(json.dumps(json.load(urllib.request.urlopen(sys.argv[1], data=b"from python"))))
`
  const { status, out, err } = await sandbox.run([pythonProgram(), '-c', script, world.url('api', '/python')])
  t.equal(status, 0, err)
  const answers = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  matchWhole(t, answers, [
    { method: 'GET', path: '/python', bodyBytes: 0 },
    { method: 'POST', path: '/python', bodyBytes: 11 },
  ])
  const seen = world.api.requests.filter(({ path }) => path === '/python')
  matchWhole(t, seen, [{ headers: { 'x-api-key': apiKey } }, { headers: { 'x-api-key': apiKey } }])
  const { requests } = await sandbox.audit({ connects: 2, requests: 2 })
  matchWhole(t, requests, [
    { method: 'GET', path: '/python', injected: ['x-api-key'], status: 200 },
    { method: 'POST', path: '/python', injected: ['x-api-key'], status: 200, bytesUp: 11 },
  ])
})

t.test('nothing of all this shows a secret', (t) => world.assertNoLeaks(t))

// A bare repository with one commit on its branch `main`.
function makeRepository(bare: string, scratch: string): void {
  const work = join(scratch, 'seed')
  git(['init', '-q', '--bare', '--initial-branch=main', bare])
  git(['init', '-q', '--initial-branch=main', work])
  writeFileSync(join(work, 'README'), 'from the origin\n')
  git(['-C', work, 'add', 'README'])
  git([
    '-C',
    work,
    '-c',
    'user.name=origin',
    '-c',
    'user.email=origin@example.test',
    'commit',
    '-q',
    '-m',
    'first',
  ])
  git(['-C', work, 'push', '-q', bare, 'main'])
  if (!existsSync(join(bare, 'HEAD'))) throw new Error(`no repository at ${bare}`)
}

function git(args: readonly string[]): string {
  const env = { PATH: process.env['PATH'], GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' }
  const { status, stdout, stderr } = spawnSync('git', args, { encoding: 'utf8', env })
  if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`)
  return stdout
}
