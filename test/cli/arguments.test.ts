import t from 'tap'
import { commandIn, parseArguments as parse } from '#src/cli/arguments.js'
import { COMMANDS, optionsOf } from '#src/cli/commands.js'
import { helpText, usageText } from '#src/cli/help.js'
import { matchWhole } from '../support/match-whole.js'

const parseArguments = (words: string[], env: Record<string, string> = {}) => parse(words, env)

function fails(words: string[]): { code: unknown; message: string; hint: unknown } {
  try {
    parseArguments(words)
  } catch (error) {
    if (error instanceof Error) return { code: undefined, hint: undefined, ...error, message: error.message }
  }
  throw new Error(`accepted: ${words.join(' ')}`)
}

t.test('everything after the first word that is no option belongs to the command, verbatim', async (t) => {
  const words = ['run', '--port', '8080', 'curl', '--port', '-x', '--', '--help', '', 'a b']
  matchWhole(t, parseArguments(words), {
    command: 'run',
    given: { port: 8080 },
    program: 'curl',
    args: ['--port', '-x', '--', '--help', '', 'a b'],
  })
})

t.test('-- ends the options, so that a command may start with a dash', async (t) => {
  matchWhole(t, parseArguments(['run', '--require', '--', '--weird', '--']), {
    require: true,
    program: '--weird',
    args: ['--'],
  })
  matchWhole(t, parseArguments(['run', '-']), { program: '-', args: [] })
})

t.test('--flag value and --flag=value are the same', async (t) => {
  const spaced = parseArguments(['run', '--base-url', 'http://127.0.0.1:1', '--log-level', 'debug', 'x'])
  const joined = parseArguments(['run', '--base-url=http://127.0.0.1:1', '--log-level=debug', 'x'])
  t.same(spaced, joined)
  t.match(joined, { given: { baseUrl: 'http://127.0.0.1:1', logLevel: 'debug' } })
})

t.test('a list option adds up, with commas and when repeated; any other takes its last value', async (t) => {
  const words = ['run', '--no-proxy', 'a.test,b.test', '--no-proxy=c.test', '--port', '1', '--port', '2', 'x']
  matchWhole(t, parseArguments(words), { given: { noProxy: ['a.test', 'b.test', 'c.test'], port: 2 } })
})

t.test('the commands have their defaults', async (t) => {
  matchWhole(t, parseArguments(['run', 'x']), { given: {}, require: false, drainMs: 2000 })
  matchWhole(t, parseArguments(['serve']), { given: {}, require: false, drainMs: 8000, writeEnv: undefined })
  t.match(parseArguments(['serve', '--write-env', 'f', '--drain', '0']), { writeEnv: 'f', drainMs: 0 })
  t.match(parseArguments(['status']), { command: 'status', url: undefined, json: false })
  t.match(parseArguments(['--version', '--json']), { command: 'version', json: true })
  t.match(parseArguments(['serve', '--require=false']), { require: false })
})

t.test('help is found in every place where people look for it', async (t) => {
  const all = [['--help'], ['-h'], ['help']]
  for (const words of all)
    t.match(parseArguments(words), { command: 'help', topic: undefined }, words.join(' '))
  const run = [
    ['run', '--help'],
    ['run', '-h'],
    ['--help', 'run'],
    ['help', 'run'],
    ['run', '--port', '1', '-h'],
  ]
  for (const words of run) t.match(parseArguments(words), { command: 'help', topic: 'run' }, words.join(' '))
  matchWhole(
    t,
    parseArguments(['run', 'ls', '--help']),
    { command: 'run', args: ['--help'] },
    "the command's own",
  )
})

t.test('an option that does not exist is an error that names the nearest one', async (t) => {
  t.match(fails(['run', '--requier', 'x']), { code: 'ERR_OPTION_UNKNOWN', hint: 'did you mean --require?' })
  t.match(fails(['serve', '--write-evn=f']), {
    code: 'ERR_OPTION_UNKNOWN',
    hint: 'did you mean --write-env?',
  })
  t.match(fails(['run', '--bse-url', 'x']), { hint: 'did you mean --base-url?' })
  t.match(fails(['run', '--zzzzzzzz', 'x']), { hint: 'upstreamproxy run --help lists them' })
  t.match(fails(['--versoin']), { hint: 'did you mean --version?' })
})

t.test('an option in the wrong place is told its right one', async (t) => {
  t.match(fails(['--require', 'run', 'x']), {
    hint: 'it comes after the command: upstreamproxy run --require',
  })
  t.match(fails(['run', '--write-env', 'f', 'x']), { hint: 'it is an option of serve' })
  t.match(fails(['run', '--version']), { hint: 'upstreamproxy --version' })
})

t.test('a command that does not exist is an error that shows how to run a program', async (t) => {
  t.match(fails(['srve']), { code: 'ERR_USAGE', hint: /^did you mean serve\? / })
  t.match(fails(['curl']), { code: 'ERR_USAGE', hint: 'to run a program: upstreamproxy run -- curl …' })
  t.match(fails(['help', 'curl']), { code: 'ERR_USAGE' })
  t.match(fails([]), { code: 'ERR_USAGE', message: 'a command is missing' })
  t.match(fails(['run']), { code: 'ERR_USAGE', message: 'run needs a COMMAND' })
  t.match(fails(['run', '--require', '--']), { code: 'ERR_USAGE', message: 'run needs a COMMAND' })
  t.match(fails(['serve', 'junk']), {
    code: 'ERR_USAGE',
    message: 'serve takes no arguments, and got "junk"',
  })
  t.match(fails(['--json']), { code: 'ERR_USAGE' })
})

t.test('a value that is missing or of the wrong kind is an error that says what was expected', async (t) => {
  t.match(fails(['serve', '--port']), { code: 'ERR_OPTION', message: /^--port needs a value/ })
  t.match(fails(['serve', '--write-env', '--require']), {
    hint: '--write-env=--require if that is the value',
  })
  t.match(fails(['serve', '--port', 'http']), { message: '--port expects a whole number, and got "http"' })
  t.match(fails(['serve', '--port=-1']), { message: '--port expects a whole number, and got "-1"' })
  t.match(fails(['serve', '--log-format', 'xml']), {
    message: /^--log-format expects one of text, json, and got "xml"$/,
  })
  t.match(fails(['serve', '--require=maybe']), {
    message: '--require expects true or false, and got "maybe"',
  })
  t.match(
    fails(['serve', '--port', '99999']),
    { code: 'ERR_OPTION' },
    'what only the options themselves can check',
  )
})

t.test(
  'a wrong variable is not the fault of the command line, and may be what makes an option right',
  async (t) => {
    const words = ['run', '--base-url', 'http://gateway.test', 'x']
    t.match(fails(words), { code: 'ERR_OPTION', message: /^--base-url: / })
    t.doesNotThrow(() => parseArguments(words, { UPSTREAMPROXY_ALLOW_PLAIN_GATEWAY: '1' }))
    t.doesNotThrow(() => parseArguments(['run', 'x'], { UPSTREAMPROXY_PORT: 'http' }))
  },
)

t.test('a usage error knows the command that it is about', async (t) => {
  t.equal(commandIn(['serve', '--x']), 'serve')
  t.equal(commandIn(['--x']), undefined)
  t.match(usageText('serve'), /^usage: upstreamproxy serve /)
  t.match(usageText(undefined), /run .*\n.*serve .*\n.*status /)
})

t.test('--help of a command names every option, and only examples that parse', async (t) => {
  for (const command of COMMANDS) {
    const text = helpText(command.name)
    for (const { flag, env } of optionsOf(command)) {
      t.match(text, `  ${flag}`, `${command.name} ${flag}`)
      if (env !== undefined) t.match(text, `$${env}`, env)
    }
    for (const [line] of command.examples.filter(([line]) => line.startsWith('upstreamproxy '))) {
      const words = (line.split(' | ')[0] ?? '').split(' ').slice(1)
      t.doesNotThrow(() => parseArguments(words), line)
    }
    t.notOk(
      text.split('\n').some((line) => line.length > 100),
      `${command.name} fits a terminal`,
    )
  }
})

t.test('no option takes a secret', async (t) => {
  const flags = COMMANDS.flatMap((command) => optionsOf(command).map(({ flag }) => flag))
  t.same(
    flags.filter((flag) => /token|secret|password|key/.test(flag) && !flag.endsWith('-file')),
    [],
  )
})
