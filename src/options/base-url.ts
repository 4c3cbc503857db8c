/** The gateway's base URL: `https:`, or `http:` to a loopback host (to any where it is allowed); a path may follow. */
import { ProxyError } from '../errors.js'
import { type Setting, textOf } from './values.js'

/** @throws ProxyError ERR_OPTION, without the URL's text: it may hold a password */
export function baseUrlOf(setting: Setting, allowPlain: boolean): URL {
  const text = setting.value instanceof URL ? setting.value.href : textOf(setting)
  if (!URL.canParse(text)) throw refused(setting, 'is not a URL', 'like https://gateway.example')
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw refused(setting, `has the scheme ${url.protocol}`, 'https://, or http:// for a loopback host')
  if (url.username !== '' || url.password !== '')
    throw refused(setting, 'holds a user or password', 'the token is the only credential, and it has a file')
  // `new URL` drops a lone `?` or `#`, so the text is what shows that there was one.
  if (/[?#]/.test(text))
    throw refused(setting, 'has a query or fragment', 'a path at most may follow the host')
  if (url.protocol === 'http:' && !allowPlain && !isLoopback(url.hostname)) {
    throw refused(
      setting,
      'is plain http to a host that is not loopback',
      'use https://; or allow it (allowPlainGateway), and everyone on the way can read the token',
    )
  }
  return url
}

function isLoopback(hostname: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname)
}

function refused({ label }: Setting, what: string, hint: string): ProxyError {
  return new ProxyError('ERR_OPTION', `${label}: the base URL ${what}`, { hint })
}
