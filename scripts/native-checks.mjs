// The C++ parts under clang's sanitizers: the tests of the sockets with AddressSanitizer and UndefinedBehaviorSanitizer,
// the writer's with ThreadSanitizer too; the whole addon in Node, at every end that its objects can come to, with the
// first two; then the decoders and the encoder under libFuzzer.
//   node scripts/native-checks.mjs                  the short form, which the tests run: about a minute
//   node scripts/native-checks.mjs --seconds 3600   fuzzes for so long; what it learns stays in .cache/fuzz
// Needs clang with its runtime (Debian: clang, libclang-rt-14-dev). Ends with 1 where something does not hold, and libFuzzer
// then says where it has put the input.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
const { seconds } = parseArgs({ options: { seconds: { type: 'string' } } }).values
if (seconds !== undefined && !/^[1-9][0-9]*$/.test(seconds)) {
  console.error('usage: node scripts/native-checks.mjs [--seconds N]')
  process.exit(64)
}

// The edge to Node-API needs a Node around it, and the runtime would stand in the way of the sanitizers' own.
const OUTSIDE = ['addon.cc', 'runtime.cc', 'socket_watcher.cc']
const parts = readdirSync(join(root, 'native'))
  .filter((name) => name.endsWith('.cc') && !OUTSIDE.includes(name))
  .map((name) => join(root, 'native', name))
const DEADLINE_MS = (Number(seconds ?? 0) + 120) * 1000
const MEMORY = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']

const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-native-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
run(compile('writer_test', MEMORY), [])
run(compile('writer_test', ['-fsanitize=thread']), [])
run(compile('reader_test', MEMORY), [])
lifetimes()
fuzz(compile('fuzz_framing', ['-fsanitize=fuzzer', ...MEMORY]))

// Node itself has no sanitizer in it, so clang's is loaded before it. Leaks are not looked for: Node leaves many at its end.
function lifetimes() {
  const addon = join(folder, 'sanitized.node')
  const require = createRequire(import.meta.url)
  const headers = [require('node-addon-api').include_dir, require('node-api-headers').include_dir]
  const cmake = readFileSync(join(root, 'CMakeLists.txt'), 'utf8')
  const [, defines] = /set\(DEFINES\n([^)]*)\)/.exec(cmake)
  const flags = [
    ...['-std=c++17', '-g', '-O1', '-fPIC', '-shared', '-fno-exceptions', '-fno-rtti'],
    ...[...MEMORY, '-shared-libasan'],
    ...defines
      .trim()
      .split(/\s+/)
      .map((define) => `-D${define}`),
    ...headers.flatMap((header) => ['-isystem', header]),
  ]
  const edge = ['addon.cc', 'socket_watcher.cc'].map((name) => join(root, 'native', name))
  run('clang++', [...flags, ...edge, ...parts, '-o', addon])
  const sanitizer = spawnSync('clang++', ['-print-file-name=libclang_rt.asan-x86_64.so'], {
    encoding: 'utf8',
  })
  run(process.execPath, ['--expose-gc', join(root, 'native/test/lifetimes.mjs'), addon], {
    LD_PRELOAD: sanitizer.stdout.trim(),
    ASAN_OPTIONS: 'detect_leaks=0',
  })
}

function fuzz(program) {
  const seeds = join(folder, 'seeds')
  mkdirSync(seeds)
  for (const [index, bytes] of seedInputs().entries()) writeFileSync(join(seeds, String(index)), bytes)
  const limits = ['-max_len=16384', '-timeout=10', `-artifact_prefix=${join(root, '.cache/fuzz')}/found-`]
  const learned = join(root, '.cache/fuzz/corpus')
  mkdirSync(learned, { recursive: true })
  if (seconds === undefined) return run(program, [...limits, '-runs=100000', '-seed=1', seeds])
  run(program, [...limits, `-max_total_time=${seconds}`, learned, seeds])
}

// The short vectors of the tests, each as a message of one frame and of two; and plain payloads for the encoder.
function seedInputs() {
  const { accepted, refused } = JSON.parse(readFileSync(join(root, 'test/vectors/chunks.json'), 'utf8'))
  const messages = [...accepted, ...refused]
    .filter(({ message }) => typeof message === 'string' && message.length < 240)
    .map(({ message }) => Buffer.from(message.replaceAll(' ', ''), 'hex'))
  return messages.flatMap((message) => {
    const half = message.length >> 1
    const [first, second] = [message.subarray(0, half), message.subarray(half)]
    return [
      [0x01, 0x82, message.length, ...message],
      [0x02, 0x02, first.length, ...first, 0x89, 1, 0x70, 0x80, second.length, ...second],
      [0x03, 0x82, message.length, ...message, 0x88, 2, 0x03, 0xe8],
      [0x81, ...message],
    ].map((bytes) => Buffer.from(bytes))
  })
}

function compile(name, flags) {
  const program = join(folder, `${name}${flags[0].replace(/\W/g, '_')}`)
  const source = join(root, `native/test/${name}.cc`)
  run('clang++', ['-std=c++17', '-g', '-O1', '-Wall', '-Wextra', ...flags, source, ...parts, '-o', program])
  return program
}

function run(program, args, env = {}) {
  const { status, error, stdout, stderr } = spawnSync(program, args, {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: DEADLINE_MS,
  })
  if (status === 0)
    return console.log(`${program.split('/').at(-1)}: ${lastLine(stdout) || lastLine(stderr) || 'done'}`)
  console.error(stdout, stderr, error ?? '')
  process.exit(1)
}

function lastLine(text) {
  return text.trim().split('\n').at(-1)
}
