/** The suite of SocketWriter, for every kind of socket. */
import t from 'tap'
import { present, skipping, WRITERS } from './implementations.js'
import { socketWriterSuite } from './socket-writer-suite.js'

for (const { name, load } of WRITERS) {
  const loaded = load()
  for (const kind of ['tcp', 'unix'] as const) {
    t.test(`socket writes by ${name} over ${kind}`, skipping(loaded), (t) =>
      socketWriterSuite(t, present(loaded), kind),
    )
  }
}
