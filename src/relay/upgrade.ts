/**
 * From a dial to an upgraded connection, on one socket: nothing but this file and the frames' decoder reads it.
 */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { ProxyError } from '../errors.js'
import { UpgradeAnswerParser, upgradeRequest } from '../wire/upgrade.js'
import type { GatewayDialer } from './gateway-dialer.js'
import { type DialProgress, upgradeFailure } from './upgrade-failure.js'

export interface UpgradeEvents {
  /** `rest` are the first bytes of frames, copies */
  upgraded(socket: Socket, rest: Buffer): void
  /** after the upgrade: so many bytes lie in the inbox, on loan */
  received(count: number): void
  /** after the upgrade, without an inbox: the receiver's from now on */
  bytes(bytes: Buffer): void
  failed(error: ProxyError): void
}

/** @param inbox memory that every socket of this thread reads into, of use within one call alone; without one, Node's */
export function upgrade(dialer: GatewayDialer, token: string, events: UpgradeEvents, inbox?: Buffer): Socket {
  const key = randomBytes(16).toString('base64')
  const parser = new UpgradeAnswerParser(key)
  let progress: DialProgress = 'connecting'
  let isUpgraded = false
  const inboxOf = (buffer: Buffer) => ({
    buffer,
    callback: (count: number): boolean => {
      if (isUpgraded) events.received(count)
      else if (!socket.destroyed) read(buffer.subarray(0, count))
      return true
    },
  })
  const read = (bytes: Buffer): void => {
    try {
      const answer = parser.push(bytes)
      if (answer === undefined) return
      if ('refused' in answer) return fail(upgradeFailure(answer.refused, progress))
      isUpgraded = true
      socket.off('error', broke)
      socket.off('end', ended)
      socket.off('close', closed)
      events.upgraded(socket, answer.rest)
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error
      fail(error)
    }
  }
  const fail = (error: ProxyError): void => {
    if (isFailed) return
    isFailed = true
    socket.destroy()
    events.failed(error)
  }
  let isFailed = false
  const broke = (error: Error): void => fail(upgradeFailure(error, progress))
  const ended = (): void => fail(upgradeFailure(new Error('the gateway closed the connection'), progress))
  const closed = (): void => fail(upgradeFailure(new Error('the connection was closed'), progress))
  const socket = dialer.connect((reached) => {
    progress = reached
  }, inbox && inboxOf(inbox))
  socket.unref()
  if (!inbox) socket.on('data', (bytes: Buffer) => (isUpgraded ? events.bytes(bytes) : read(bytes)))
  socket.on('error', broke)
  socket.on('end', ended)
  socket.on('close', closed)
  const { webSocketUrl } = dialer
  socket.write(
    upgradeRequest({
      host: webSocketUrl.host,
      target: webSocketUrl.pathname + webSocketUrl.search,
      key,
      headers: dialer.upgradeHeaders(token),
    }),
  )
  return socket
}
