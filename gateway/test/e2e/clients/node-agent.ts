/** A Node program of the kind that is told of its proxy: GET and POST with https-proxy-agent, one answer a line. */
import { get, request } from 'node:https'
import { text } from 'node:stream/consumers'
import { HttpsProxyAgent } from 'https-proxy-agent'

const agent = new HttpsProxyAgent(process.env['HTTPS_PROXY'] ?? '', { keepAlive: true })
const [, , url = ''] = process.argv

await new Promise<void>((resolve, reject) => {
  get(url, { agent }, async (response) => {
    console.log(JSON.stringify({ status: response.statusCode, body: JSON.parse(await text(response)) }))
    resolve()
  }).on('error', reject)
})
await new Promise<void>((resolve, reject) => {
  request(url, { agent, method: 'POST' }, async (response) => {
    console.log(JSON.stringify({ status: response.statusCode, body: JSON.parse(await text(response)) }))
    resolve()
  })
    .on('error', reject)
    .end('from node')
})
agent.destroy()
