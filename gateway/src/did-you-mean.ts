/** Suggestions for words that are nearly right. */
import { distance } from 'fastest-levenshtein'

/** `did you mean X?` where one of the known words is near enough to be what was meant. */
export function didYouMean(word: string, known: readonly string[]): string | undefined {
  const far = (candidate: string) => distance(word.toLowerCase(), candidate.toLowerCase())
  const nearest = [...known].sort((a, b) => far(a) - far(b))[0]
  if (nearest === undefined || far(nearest) > Math.max(2, Math.floor(word.length / 3))) return undefined
  return `did you mean ${nearest}?`
}
