/** The variables that children get, as data: docs/environment.md is held against this table. */

export interface Variable {
  readonly name: string
  /** `proxy`: the relay's URL; `no-proxy`: what goes around it; `bundle`: the joined CA bundle's path; else the value */
  readonly value: 'proxy' | 'no-proxy' | 'bundle' | { readonly literal: string }
  /** `full` has the core's variables too */
  readonly profile: 'core' | 'full'
  /** who reads it, and why the others do not suffice */
  readonly reason: string
}

export const VARIABLES: readonly Variable[] = [
  core('HTTPS_PROXY', 'proxy', 'curl, git, Go, Python, Ruby, Rust and most others'),
  core(
    'https_proxy',
    'proxy',
    'those that read the lower case alone, such as wget; where both exist, many prefer it',
  ),
  core('NO_PROXY', 'no-proxy', 'as HTTPS_PROXY'),
  core('no_proxy', 'no-proxy', 'as https_proxy'),
  core('SSL_CERT_FILE', 'bundle', 'OpenSSL and all that keeps to it: Python, Ruby, PHP, Perl, Go, .NET, uv'),
  core('NODE_EXTRA_CA_CERTS', 'bundle', 'Node.js, npm, pnpm, yarn, Bun: they add it to roots of their own'),
  core(
    'REQUESTS_CA_BUNDLE',
    'bundle',
    'Python requests and what uses it (az, poetry), which bring roots of their own',
  ),
  core('CURL_CA_BUNDLE', 'bundle', 'curl, whose build may name another file; requests, as a second choice'),
  full(
    'NODE_USE_ENV_PROXY',
    { literal: '1' },
    'Node.js 22.21, 24 and later: fetch and https ignore HTTPS_PROXY without it',
  ),
  full(
    'npm_config_cafile',
    'bundle',
    'npm, pnpm and Yarn 1: a `cafile` in any npmrc puts NODE_EXTRA_CA_CERTS out of action',
  ),
  full('YARN_HTTPS_PROXY', 'proxy', 'Yarn 2 and later, which read no HTTPS_PROXY'),
  full(
    'ELECTRON_GET_USE_PROXY',
    { literal: 'true' },
    "Electron's installer, which reads HTTPS_PROXY only where this is set",
  ),
  full('GIT_SSL_CAINFO', 'bundle', 'git over HTTPS, which hands its own choice of file to libcurl'),
  full('CARGO_HTTP_CAINFO', 'bundle', 'cargo, whose libcurl is built in'),
  full('PIP_CERT', 'bundle', 'pip, which brings roots of its own'),
  full(
    'UV_SYSTEM_CERTS',
    { literal: 'true' },
    "uv, whose default is roots of its own: the system's, which SSL_CERT_FILE names",
  ),
  full('DENO_CERT', 'bundle', 'Deno, which brings roots of its own'),
  full('AWS_CA_BUNDLE', 'bundle', 'the AWS command line and SDKs, which bring roots of their own'),
  full('CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE', 'bundle', 'gcloud, which brings roots of its own'),
  full('HTTPLIB2_CA_CERTS', 'bundle', "Python httplib2 and Google's older clients on it"),
  full(
    'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
    'bundle',
    'gRPC for C++, Python, Ruby, PHP and Node, which brings roots of its own',
  ),
  full('BUNDLE_SSL_CA_CERT', 'bundle', "Ruby's Bundler, which prefers it to OpenSSL's choice"),
  full('COMPOSER_CAFILE', 'bundle', "PHP's Composer, which searches for a file of its own"),
  full('NIX_SSL_CERT_FILE', 'bundle', 'Nix and all that it builds, which prefer it to SSL_CERT_FILE'),
  full('HEX_CACERTS_PATH', 'bundle', "Elixir's Hex, which brings roots of its own"),
  full(
    'JULIA_SSL_CA_ROOTS_PATH',
    'bundle',
    'Julia, which prefers an inherited SSL_CERT_DIR to SSL_CERT_FILE',
  ),
  full(
    'SYSTEM_CERTIFICATE_PATH',
    'bundle',
    'Haskell (x509-system: stack, cabal), which reads no other variable',
  ),
]

function core(name: string, value: Variable['value'], reason: string): Variable {
  return { name, value, profile: 'core', reason }
}

function full(name: string, value: Variable['value'], reason: string): Variable {
  return { name, value, profile: 'full', reason }
}
