/** The shape of the configuration file: what may stand where. What it means is checked in config.ts. */
import { z } from 'zod'
import { LIMITS, type LimitName } from './limits.js'

/** one of: an environment variable, or a file whose content (its last newline removed) is the secret */
const SecretSource = z.strictObject({ env: z.string().min(1).optional(), file: z.string().min(1).optional() })
const KeyPair = z.strictObject({ cert: z.string().min(1), key: z.string().min(1) })

const Rule = z.strictObject({
  match: z.strictObject({
    host: z.string().min(1),
    port: z.int().min(1).max(65535).optional(),
    path: z.string().min(1).optional(),
    methods: z.array(z.string()).min(1).optional(),
  }),
  set: z.record(z.string(), z.string()).optional(),
  action: z.enum(['allow', 'deny']).optional(),
})

const Org = z.strictObject({
  default: z.enum(['allow', 'deny']).default('deny'),
  secrets: z.record(z.string(), SecretSource).default({}),
  rules: z.array(Rule).default([]),
})

const LimitsSchema = z.strictObject(
  Object.fromEntries(
    Object.keys(LIMITS).map((name) => [
      name,
      z
        .int()
        .min(1)
        .max(2 ** 31 - 1)
        .optional(),
    ]),
  ) as Record<LimitName, z.ZodOptional<z.ZodInt>>,
)

export const ConfigSchema = z.strictObject({
  listen: z.string().default('127.0.0.1:8443'),
  tls: KeyPair.optional(),
  ca: KeyPair.optional(),
  state: z.string().min(1).default('./gateway-state'),
  upstream: z
    .strictObject({
      caFile: z.string().min(1).optional(),
      allowAddresses: z.array(z.string()).default([]),
      hosts: z.record(z.string(), z.string()).default({}),
    })
    .prefault({}),
  audit: z
    .strictObject({
      file: z.string().min(1).optional(),
      onError: z.enum(['block', 'continue']).default('block'),
    })
    .prefault({}),
  limits: LimitsSchema.default({}),
  sessions: z.array(z.strictObject({ id: z.string(), token: SecretSource, org: z.string() })).default([]),
  orgs: z.record(z.string(), Org).default({}),
})

export type RawConfig = z.output<typeof ConfigSchema>
export type RawSecretSource = z.output<typeof SecretSource>
export type RawOrg = z.output<typeof Org>
export type RawRule = z.output<typeof Rule>

/** The keys that may stand under a path of the configuration, for suggestions; none where any may. */
export function knownKeys(path: readonly PropertyKey[]): string[] {
  let schema: z.core.$ZodType = ConfigSchema
  for (const step of path) {
    const inner = unwrapped(schema)
    if (inner instanceof z.ZodObject) schema = inner.shape[step as string] ?? z.never()
    else if (inner instanceof z.ZodRecord) schema = inner.valueType
    else if (inner instanceof z.ZodArray) schema = inner.element
    else return []
  }
  const inner = unwrapped(schema)
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  let inner = schema
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
    inner = inner.unwrap()
  }
  return inner
}
