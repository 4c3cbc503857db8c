/** Configuration files of relays that have one: TCP on a port of loopback to TLS, verified, at the gateway. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gatewayPort } from '../harness/relay.mjs'
import { peersFolder } from './places.mjs'

/** Path of a configuration for nginx: one worker, in the foreground. */
export function nginxConfiguration(stage, port) {
  return written(
    `nginx-${port}.conf`,
    `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${join(peersFolder, `nginx-${port}.pid`)};
error_log stderr warn;
events { worker_connections 19000; }
stream {
  server {
    listen 127.0.0.1:${port} backlog=4096;
    tcp_nodelay on;
    proxy_pass 127.0.0.1:${gatewayPort(stage)};
    proxy_buffer_size 256k;
    proxy_timeout 1h;
    proxy_ssl on;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 2;
    proxy_ssl_name localhost;
    proxy_ssl_trusted_certificate ${stage.gateway.caFile};
    proxy_ssl_session_reuse on;
  }
}
`,
  )
}

/** Path of a configuration for haproxy: one thread. */
export function haproxyConfiguration(stage, port) {
  return written(
    `haproxy-${port}.cfg`,
    `global
  nbthread 1
  maxconn 9000
  tune.bufsize 65536
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen relay
  bind 127.0.0.1:${port} backlog 4096
  server gateway 127.0.0.1:${gatewayPort(stage)} ssl verify required verifyhost localhost ca-file ${stage.gateway.caFile}
`,
  )
}

function written(name, text) {
  mkdirSync(peersFolder, { recursive: true })
  const path = join(peersFolder, name)
  writeFileSync(path, text)
  return path
}
