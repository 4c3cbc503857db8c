/** The gateway that every participant of a run talks to, its certificate, and the trust that participants are given. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { Process } from './process.mjs'

/**
 * Starts it. `ports`: `plain`; `tls`; `full` (TLS without resumption). `caFile` holds what a relay of the field has: the
 * roots of a system and the gateway's CA.
 */
export async function startGateway(programs) {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-bench-'))
  // Not before the build, which a fresh clone has yet to do.
  const { makeCa, makeLeaf } = await import('../../dist-test/support/certificates.js')
  const ca = await makeCa({ name: 'upstreamproxy bench' })
  const leaf = await makeLeaf(ca, { dns: ['localhost'], ip: ['127.0.0.1'] })
  const file = (name, text) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const certFile = file('cert.pem', leaf.certPem)
  const keyFile = file('key.pem', leaf.keyPem)
  const caFile = file('roots.pem', [ca.certPem, ...rootCertificates].join('\n'))
  // nginx and haproxy present it with its key in one file; chisel and wstunnel want the CA alone.
  const ownCaFile = file('ca.pem', ca.certPem)
  const process = new Process([programs.gateway, '--cert', certFile, '--key', keyFile, '--ca', ownCaFile], {
    place: 'load',
  })
  const ports = await process.next()
  const stop = async () => {
    await process.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  return { ports, folder, caFile, ownCaFile, certFile, keyFile, stop }
}
