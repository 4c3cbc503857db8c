/** The commands and their options, as data: the parser and `--help` both read it, so that they cannot disagree. */
import { OPTION_TABLE } from '../options.js'

export type CommandName = 'run' | 'serve' | 'status'

/** What both an entry of OPTION_TABLE and an option of the command line alone have. */
export interface CliOption {
  /** property under which the value is found */
  readonly name: string
  /** with its dashes */
  readonly flag: string
  readonly kind: 'string' | 'flag' | 'number' | 'list' | 'choice'
  readonly choices?: readonly string[]
  /** stands for the value in `--help` */
  readonly placeholder?: string
  /** environment variable that sets the same */
  readonly env?: string
  /** variables that are asked after `env` */
  readonly fallbackEnv?: readonly string[]
  readonly defaultText?: string
  readonly help: string
}

export interface Command {
  readonly name: CommandName
  readonly synopsis: string
  readonly summary: string
  readonly description: string
  /** options of this command alone */
  readonly own: readonly CliOption[]
  /** whether the options of the relay (OPTION_TABLE) apply */
  readonly relayOptions: boolean
  /** a line of shell, and what it does */
  readonly examples: readonly (readonly [line: string, why: string])[]
  readonly exitStatus: string
}

/** Default of `run --drain`, in ms: background grandchildren cannot hold the command's end for longer. */
export const RUN_DRAIN_MS = 2_000
/** Default of `serve --drain`, in ms: under the 10 s that `docker stop` waits, and the 30 s of Kubernetes. */
export const SERVE_DRAIN_MS = 8_000

const HELP: CliOption = { name: 'help', flag: '--help', kind: 'flag', help: 'show this text' }

const drain = (ms: number, help: string): CliOption => ({
  name: 'drain',
  flag: '--drain',
  kind: 'number',
  placeholder: 'MS',
  defaultText: String(ms),
  help,
})

export const COMMANDS: readonly Command[] = [
  {
    name: 'run',
    synopsis: 'upstreamproxy run [OPTION…] [--] COMMAND [ARG…]',
    summary: 'run a command with its HTTPS traffic going through the gateway',
    description:
      'Starts the relay, runs COMMAND with the variables that lead to it, and exits with its status. Where the ' +
      'proxy is not enabled, or cannot be set up, COMMAND runs all the same, its environment unchanged. ' +
      'Options end at the first word that is not one, or at --; all after that belongs to COMMAND.',
    own: [
      {
        name: 'require',
        flag: '--require',
        kind: 'flag',
        help: 'exit with status 69 instead of running COMMAND without the proxy',
      },
      drain(RUN_DRAIN_MS, 'time for open tunnels to finish after COMMAND has ended, in ms'),
      HELP,
    ],
    relayOptions: true,
    examples: [
      [
        'upstreamproxy run curl https://api.example.com/',
        'the command needs no -- as long as it starts with no dash',
      ],
      ["upstreamproxy run -- sh -c 'git pull && npm ci'", 'several commands in one session'],
      ['upstreamproxy run --require -- ./nightly-job', 'never without the proxy: exits 69 and says why'],
      ['upstreamproxy run --log-level debug -- npm ci', 'what the relay does, on stderr'],
    ],
    exitStatus:
      "COMMAND's own; 128 + N where signal N ended it; 127 not found; 126 found, but not executable; " +
      '64 wrong usage; 69 --require was given, and there is no proxy',
  },
  {
    name: 'serve',
    synopsis: 'upstreamproxy serve [OPTION…]',
    summary: 'run the relay in the foreground, for entrypoints and sidecars',
    description:
      'Prints one line of JSON when it is ready, then serves until SIGTERM, SIGINT, SIGHUP or SIGQUIT; drains, and ' +
      'exits 0 (a second signal cuts the drain short). Where the proxy is not enabled, or cannot be set up, it says ' +
      'so in that line, writes an empty file, and stays up all the same: a sidecar that exits would block its pod.',
    own: [
      {
        name: 'writeEnv',
        flag: '--write-env',
        kind: 'string',
        placeholder: 'FILE',
        help: 'write the variables for clients to FILE (KEY=value), once they are known; emptied at the end',
      },
      {
        name: 'require',
        flag: '--require',
        kind: 'flag',
        help: 'exit with status 69 instead of staying up without the proxy',
      },
      drain(SERVE_DRAIN_MS, 'time for open tunnels to finish after a signal, in ms'),
      HELP,
    ],
    relayOptions: true,
    examples: [
      ['upstreamproxy serve --write-env /run/ccr/proxy.env', 'for everything else in the container'],
      ['set -a; . /run/ccr/proxy.env; set +a', 'take the variables into a shell'],
      ['docker run --env-file proxy.env --network container:relay …', 'the same file, for a neighbour'],
    ],
    exitStatus:
      '0 ended by a signal; 64 wrong usage; 69 --require was given, and there is no proxy; ' +
      '73 the same, and FILE cannot be written',
  },
  {
    name: 'status',
    synopsis: 'upstreamproxy status [OPTION…]',
    summary: 'show what a relay is doing',
    description:
      'Asks the relay that HTTPS_PROXY leads to (or --url) and shows its answer: for people on a terminal, as JSON ' +
      'elsewhere. Exits 69 when no relay answers.',
    own: [
      {
        name: 'url',
        flag: '--url',
        kind: 'string',
        placeholder: 'URL',
        defaultText: 'HTTPS_PROXY, where it is on loopback',
        help: 'where the relay listens, as http://127.0.0.1:PORT',
      },
      { name: 'json', flag: '--json', kind: 'flag', help: 'JSON, on a terminal too' },
      HELP,
    ],
    relayOptions: false,
    examples: [
      ['upstreamproxy run -- upstreamproxy status', 'is the way to the gateway set up?'],
      ['upstreamproxy status --url http://127.0.0.1:41234', 'a relay that somebody else started'],
      ["upstreamproxy status --json | jq '.failures[-1]'", 'the last thing that went wrong'],
    ],
    exitStatus: '0 a relay answered; 64 wrong usage; 69 none did',
  },
]

/** Options that come before, or in place of, a command. */
export const PROGRAM_OPTIONS: readonly CliOption[] = [
  HELP,
  {
    name: 'version',
    flag: '--version',
    kind: 'flag',
    help: 'show the version; with --json, the capabilities too',
  },
  { name: 'json', flag: '--json', kind: 'flag', help: 'with --version: JSON' },
]

/** All options that `command` takes, its own first. */
export function optionsOf(command: Command): readonly CliOption[] {
  return command.relayOptions ? [...command.own, ...OPTION_TABLE] : command.own
}
