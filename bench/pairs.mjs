// Two things measured in turn, A B A B …, and compared pair by pair: a noisy machine's drift falls out.

/** Runs `a` and `b` in turn; each returns a figure (less is better). Returns medians and the median of the ratios. */
export async function pairs(count, a, b) {
  await a()
  await b()
  const runs = []
  for (let i = 0; i < count; i++) runs.push([await a(), await b()])
  const ratios = runs.map(([x, y]) => x / y).sort((x, y) => x - y)
  return {
    a: median(runs.map(([x]) => x)),
    b: median(runs.map(([, y]) => y)),
    ratio: median(ratios),
    spread: [ratios[0], ratios.at(-1)],
  }
}

export function median(figures) {
  const sorted = [...figures].sort((x, y) => x - y)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

export function row(label, { a, b, ratio, spread }, digits = 2) {
  const text = (figure) => figure.toFixed(digits)
  console.log(
    `| ${label} | ${text(a)} | ${text(b)} | **${text(ratio)}** (${text(spread[0])}–${text(spread[1])}) |`,
  )
}

/** Own CPU seconds, user and system, of `work` on so many bytes, over and over for `megabytes`, scaled to one gigabyte. */
export function cpuPerGb(megabytes, bytes, work) {
  const rounds = (megabytes * 1024 * 1024) / bytes
  const before = process.cpuUsage()
  for (let i = 0; i < rounds; i++) work()
  const { user, system } = process.cpuUsage(before)
  return ((user + system) / 1e6) * (1024 / megabytes)
}
