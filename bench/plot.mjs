// node bench/plot.mjs RESULTS > FILE.svg
import { readFileSync } from 'node:fs'
import { plot } from './report/plot.mjs'

const results = JSON.parse(
  readFileSync(process.argv[2] ?? new URL('results/latest.json', import.meta.url), 'utf8'),
)
process.stdout.write(plot(results, 'Bulk transfer through one tunnel'))
