import t from 'tap'
import { bareEnvironment, CLI, enabledEnvironment, openTunnel, start, startGateway } from './program.js'
import { NO_TERMINAL, onTerminal, type Step } from './terminal.js'

// Says which signals it gets, and ends with 5 when it is told to. `process.stdin` keeps it alive.
const LISTENER = `
  const names = ['SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT', 'SIGWINCH', 'SIGINT']
  for (const name of names) process.on(name, () => console.log('got ' + name + '.'))
  process.stdin.once('data', () => process.exit(5))
  console.log('ready')`
const LISTEN = [process.execPath, '-e', LISTENER]

t.test('each signal on the list reaches the command, which goes on as it likes', async (t) => {
  const program = start(t, ['run', '--', ...LISTEN], await enabledEnvironment(t))
  await program.shows(/ready/)
  const names = ['SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT', 'SIGWINCH'] as const
  for (const name of names) {
    program.process.kill(name)
    await program.shows(new RegExp(`got ${name}\\.`))
  }
  program.process.stdin?.end('end\n')
  const { status, out, err } = await program.ended
  t.equal(status, 5)
  t.same(out.match(/got SIG\w+/g)?.length, names.length, 'each once')
  t.notMatch(err, 'Debugger listening', 'SIGUSR1 opens no inspector')
})

t.test('a second SIGTERM is forwarded too', async (t) => {
  const program = start(t, ['run', '--', ...LISTEN], bareEnvironment(t))
  await program.shows(/ready/)
  program.process.kill('SIGTERM')
  await program.shows(/got SIGTERM\./)
  program.process.kill('SIGTERM')
  await program.shows(/(got SIGTERM\.\s*){2}/)
  program.process.stdin?.end('end\n')
  t.equal((await program.ended).status, 5)
})

t.test('a command that does not catch SIGTERM dies of it: 143', async (t) => {
  const program = start(
    t,
    ['run', '--', 'sh', '-c', 'echo ready; exec sleep 60'],
    await enabledEnvironment(t),
  )
  await program.shows(/ready/)
  program.process.kill('SIGTERM')
  t.match(await program.ended, { status: 143, signal: null })
})

t.test('without a terminal, a SIGINT that is sent to us is forwarded', async (t) => {
  const program = start(t, ['run', '--', ...LISTEN], bareEnvironment(t))
  await program.shows(/ready/)
  program.process.kill('SIGINT')
  await program.shows(/got SIGINT/)
  program.process.stdin?.end('end\n')
  t.equal((await program.ended).status, 5)
})

t.test('a signal that asks us to end before the command has started keeps it from starting', async (t) => {
  for (const [name, expected] of [
    ['SIGTERM', 143],
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGQUIT', 131],
  ] as const) {
    const gateway = await startGateway(t, { holds: true })
    const env = await enabledEnvironment(t, Promise.resolve(gateway))
    const program = start(t, ['run', '--', 'echo', 'ran'], env)
    await gateway.asked
    program.process.kill(name)
    t.match(await program.ended, { status: expected, signal: null, out: '' }, name)
  }
})

t.test('SIGUSR1 from before the command has started waits for it', async (t) => {
  const gateway = await startGateway(t, { holds: true })
  const env = await enabledEnvironment(t, Promise.resolve(gateway))
  const program = start(t, ['run', '--', 'sleep', '60'], env)
  await gateway.asked
  program.process.kill('SIGUSR1')
  gateway.release()
  t.match(await program.ended, { status: 128 + 10 }, 'it has the effect that it has on sleep')
})

t.test('a signal during the drain ends it, with the status of the command', async (t) => {
  const env = await enabledEnvironment(t)
  const script = 'echo $HTTPS_PROXY; read line; echo ending; exit 4'
  const program = start(t, ['run', '--drain', '60000', '--', 'sh', '-c', script], env)
  await openTunnel(t, (await program.shows(/http:.*:(\d+)\n/))[1])
  program.process.stdin?.end('\n')
  await program.shows(/ending/)
  // Until the child is reaped, a signal is still for the child: so again and again, as an impatient person does.
  const insist = setInterval(() => program.process.kill('SIGTERM'), 100)
  t.teardown(() => clearInterval(insist))
  const before = performance.now()
  t.match(await program.ended, { status: 4, signal: null })
  t.ok(performance.now() - before < 10_000)
})

t.test('on a terminal', { skip: NO_TERMINAL }, async (t) => {
  t.test('Ctrl-C reaches the command once, and the command decides', async (t) => {
    const steps: Step[] = [
      ['see', 'ready'],
      ['type', '\x03'],
      ['see', 'got SIGINT.'],
      // Signals are forwarded in order: a second SIGINT would show before this one.
      ['signal', 'SIGUSR2'],
      ['see', 'got SIGUSR2.'],
      ['type', 'end\n'],
    ]
    const { shown, ended } = await onTerminal(t, steps, [process.execPath, CLI, 'run', '--', ...LISTEN])
    t.equal(shown.match(/got SIGINT\./g)?.length, 1)
    t.equal(ended, 5)
  })

  t.test('Ctrl-\\ and a change of size reach the command once', async (t) => {
    const steps: Step[] = [
      ['see', 'ready'],
      ['type', '\x1c'],
      ['see', 'got SIGQUIT.'],
      ['resize', 33],
      ['see', 'got SIGWINCH.'],
      ['signal', 'SIGUSR2'],
      ['see', 'got SIGUSR2.'],
      ['type', 'end\n'],
    ]
    const { shown, ended } = await onTerminal(t, steps, [process.execPath, CLI, 'run', '--', ...LISTEN])
    t.equal(shown.match(/got SIGQUIT\./g)?.length, 1)
    t.equal(shown.match(/got SIGWINCH\./g)?.length, 1)
    t.equal(ended, 5)
  })

  t.test(
    'a command that Ctrl-C ends takes us with it by the same signal, so that a loop around us stops',
    async (t) => {
      const command = [process.execPath, CLI, 'run', '--', 'sh', '-c', 'echo ready; exec sleep 60']
      const steps: Step[] = [
        ['see', 'ready'],
        ['type', '\x03'],
      ]
      t.equal((await onTerminal(t, steps, command)).ended, -2)
      const loop = ['bash', '-c', 'for i in 1 2; do "$@"; echo next; done; echo after', 'bash', ...command]
      t.notMatch((await onTerminal(t, steps, loop)).shown, /next|after/)
    },
  )

  t.test('Ctrl-C before the command has started keeps it from starting', async (t) => {
    const gateway = await startGateway(t, { holds: true })
    const env = await enabledEnvironment(t, Promise.resolve(gateway))
    const steps: Step[] = [['told'], ['type', '\x03']]
    const argv = [process.execPath, CLI, 'run', '--', 'echo', 'ran']
    const { shown, ended } = await onTerminal(t, steps, argv, env, gateway.asked)
    t.notMatch(shown, 'ran')
    t.equal(ended, -2)
  })

  t.test('Ctrl-Z stops the whole job, and it goes on with SIGCONT', async (t) => {
    const command = [process.execPath, CLI, 'run', '--', ...LISTEN]
    // A shell with job control, as people have it.
    const shell = ['bash', '--norc', '--noprofile', '-i']
    const steps: Step[] = [
      ['type', `${command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')}; echo status $?\n`],
      ['see', '\nready'],
      ['type', '\x1a'],
      ['see', 'Stopped'],
      ['type', 'fg\n'],
      ['see', 'got SIGCONT.'],
      ['type', 'end\n'],
      ['type', 'exit\n'],
    ]
    const { shown } = await onTerminal(t, steps, shell)
    t.match(shown, 'got SIGCONT.')
  })
})
