/** The search for secrets where none may be: in logs, audits, answers, arguments, environments. */

/** Everything that was written or shown during a test, by where it was. */
export class Evidence {
  readonly #pieces: { where: string; bytes: Buffer }[] = []

  add(where: string, bytes: Buffer | string): void {
    this.#pieces.push({ where, bytes: Buffer.from(bytes) })
  }

  /** places that were looked at, each once */
  get places(): string[] {
    return [...new Set(this.#pieces.map(({ where }) => where))]
  }

  /** A line for every secret that occurs, `PLACE holds NAME as FORM`; the secret itself is not quoted. */
  leaks(secrets: Readonly<Record<string, string>>): string[] {
    const forms = Object.entries(secrets).flatMap(([name, value]) =>
      formsOf(value).map(({ form, text }) => ({ label: `${name} as ${form}`, needle: Buffer.from(text) })),
    )
    const found = this.#pieces.flatMap(({ where, bytes }) =>
      forms.filter(({ needle }) => bytes.includes(needle)).map(({ label }) => `${where} holds ${label}`),
    )
    return [...new Set(found)]
  }
}

/** How a secret of some length can be written down, whatever stands around it. */
export function formsOf(secret: string): { form: string; text: string }[] {
  const forms = [
    { form: 'itself', text: secret },
    { form: 'URL-encoded', text: encodeURIComponent(secret) },
    { form: 'url-encoded', text: encodeURIComponent(secret).replace(/%../g, (code) => code.toLowerCase()) },
    { form: 'JSON', text: JSON.stringify(secret).slice(1, -1) },
    { form: 'hex', text: Buffer.from(secret).toString('hex') },
    { form: 'HEX', text: Buffer.from(secret).toString('hex').toUpperCase() },
  ]
  // Base64 of any text that holds the secret: it may begin at any of three offsets in a group of three bytes. What
  // depends on its neighbours is cut off at both ends.
  for (const before of [0, 1, 2]) {
    const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(secret)])
    const whole = bytes.subarray(0, bytes.length - (bytes.length % 3))
    for (const encoding of ['base64', 'base64url'] as const) {
      forms.push({
        form: `${encoding} at ${before}`,
        text: whole.toString(encoding).slice(before === 0 ? 0 : 4),
      })
    }
  }
  return forms
}
