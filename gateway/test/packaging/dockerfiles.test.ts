import { basename } from 'node:path'
import t from 'tap'
import { all, dockerfileNames, entrypoint, last, readDockerfile } from './dockerfile.js'
import { NPM_FLAGS } from './managers.js'

t.test('there is one for Debian, one for Alpine, one for distroless', (t) => {
  t.same(dockerfileNames().sort(), ['Dockerfile.alpine', 'Dockerfile.distroless', 'Dockerfile.slim'])
  t.end()
})

t.test('all of their images are of one major version of Node', (t) => {
  const images = dockerfileNames().flatMap((name) => readDockerfile(name).map(({ from }) => from))
  t.equal(images.length, 6)
  const majors = images.map((image) => /(?:^node:|\/nodejs)(\d+)-/.exec(image)?.[1])
  t.same([...new Set(majors)], ['22'])
  t.end()
})

for (const name of dockerfileNames()) {
  t.test(`${name}: a stage installs, the image takes what came of it`, (t) => {
    const stages = readDockerfile(name)
    t.equal(stages.length, 2)
    const [packages, image] = stages as [(typeof stages)[0], (typeof stages)[0]]
    t.equal(all(packages, 'RUN').length, 1)
    const [npm, command, ...words] = last(packages, 'RUN').split(' ')
    t.same([npm, command], ['npm', 'install'])
    t.same(
      words.filter((word) => word.startsWith('-')),
      NPM_FLAGS,
      'the flags that the tests install with',
    )
    t.same(
      all(image, 'COPY').map((rest) => rest.split(' ')[0]),
      ['--from=packages'],
    )
    t.end()
  })

  t.test(`${name}: nothing that compiles is installed, or asked for`, (t) => {
    const words = readDockerfile(name).flatMap((stage) => all(stage, 'RUN').join(' ').split(' '))
    const compilers =
      /^(?:g?cc|g\+\+|clang.*|c?make|ninja.*|python3?|build-(?:essential|base)|.*node-gyp|.*-dev)$/
    t.same(
      words.filter((word) => compilers.test(basename(word))),
      [],
    )
    t.end()
  })

  t.test(`${name}: it runs as a user that is not root, by its number, without a shell in between`, (t) => {
    const image = readDockerfile(name).at(-1)!
    t.match(last(image, 'USER'), /^[1-9]\d*$/)
    const { instructions } = image
    const after = instructions.slice(instructions.findIndex((it) => it.name === 'USER'))
    t.same(
      after.filter((it) => it.name === 'RUN'),
      [],
    )
    t.ok(Array.isArray(entrypoint(image)))
    t.end()
  })
}
