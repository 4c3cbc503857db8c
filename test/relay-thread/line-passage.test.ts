import t from 'tap'
import { LINE_PASSAGE_BYTES, LineSender, lineTaken } from '#src/relay/line-passage.js'

t.test('a host that takes no lines holds up a thousand, and learns how many it missed', async (t) => {
  const memory = new SharedArrayBuffer(LINE_PASSAGE_BYTES)
  const posted: string[] = []
  const sender = new LineSender(
    memory,
    (line) => posted.push(line),
    (count) => `${count} missed`,
  )
  for (let number = 1; number <= 2_500; number++) sender.send(`line ${number}`)
  t.equal(posted.length, 1_000)
  for (let taken = 0; taken < 1_000; taken++) lineTaken(memory)
  sender.send('the next')
  sender.send('and another')
  t.same(posted.slice(999), ['line 1000', '1500 missed', 'the next', 'and another'])
})
