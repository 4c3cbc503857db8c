/** docs/security.md promises a test for each invariant: this one holds the table against the test files. */
import { readFileSync } from 'node:fs'
import t from 'tap'

const root = new URL('../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')

t.test('each invariant of docs/security.md names tests that exist', async (t) => {
  const rows = read('docs/security.md').matchAll(/^\| (\d+) \| .* \| (`.*) \|$/gm)
  const numbers: number[] = []
  for (const [, number, tests] of rows) {
    numbers.push(Number(number))
    for (const named of tests!.split('<br>')) {
      const [, file, title] = /^`(.+?)` › (.+)$/.exec(named) ?? []
      const source = read(file!).replaceAll("\\'", "'")
      t.ok(source.includes(title!), `${number}: ${file} has «${title}»`)
    }
  }
  t.same(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9])
})
