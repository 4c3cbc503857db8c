/** The failures in a test program's output, each with what the runner found, its diff among it. */
export function failuresOf(output: string): string {
  const lines = output.split('\n')
  const failures = lines.flatMap((line, at) =>
    /^\s*not ok|Error/.test(line) ? lines.slice(at, at + 20) : [],
  )
  return failures.slice(0, 200).join('\n') || output.slice(-2000)
}
