/** A program's side of a conversation: it evaluates scripts and answers with one line of JSON each (asking.ts asks). */
import fs from 'node:fs'
import vm from 'node:vm'

export async function evaluate(script: string): Promise<unknown> {
  try {
    return await vm.runInThisContext(script)
  } catch (error) {
    return { threw: String(error) }
  }
}

export function tell(value: unknown): void {
  fs.writeSync(1, `${JSON.stringify(value) ?? 'null'}\n`)
}
