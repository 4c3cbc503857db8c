/** Figures of rounds in which every participant had its turn: medians, and ratios taken round by round. */

/** The figure below which the given part of them lies, interpolated. */
export function quantile(figures, part) {
  const sorted = [...figures].sort((x, y) => x - y)
  const at = (sorted.length - 1) * part
  const low = Math.floor(at)
  const high = Math.ceil(at)
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low)
}

export function median(figures) {
  return quantile(figures, 0.5)
}

/**
 * Participant `a` against `b`: the median of the rounds' ratios, its quartiles, its ends. The two of a round were
 * measured within seconds of each other, so a machine's drift falls out.
 */
export function ratio(a, b) {
  const ratios = a.flatMap((x, round) => (b[round] === undefined ? [] : [x / b[round]]))
  return summary(ratios)
}

export function summary(figures) {
  return {
    median: median(figures),
    quartiles: [quantile(figures, 0.25), quantile(figures, 0.75)],
    ends: [Math.min(...figures), Math.max(...figures)],
    count: figures.length,
  }
}
