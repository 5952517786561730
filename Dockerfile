# Bridge and worker, one image: `docker run keymend bridge`, `… worker`, or any other verb of the command line.
# Debian, because Temporal's worker comes as a native library for glibc.
FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# The package builds itself after an install, for which its sources are not there yet.
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build && npm prune --omit=dev --ignore-scripts && rm -rf dist/dual-writer \
  && find dist -name '*.map' -delete

# What `tracing` loads if it is configured. keymend has it as an optional peer, so a pruned folder is without it.
FROM node:22-bookworm-slim AS tracing
WORKDIR /tracing
COPY package.json /keymend/package.json
RUN npm install --no-save --ignore-scripts \
  $(node --print 'const own = require("/keymend/package.json"); Object.keys(own.peerDependencies).map((name) => name + "@" + own.devDependencies[name]).join(" ")')

# No shell and no package manager. It writes no file, so it can be run with `--read-only`.
FROM gcr.io/distroless/nodejs22-debian12:nonroot
USER 65532:65532
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=tracing /tracing/node_modules ./node_modules
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/schemas ./schemas
COPY --from=build /app/docker/livez.js ./docker/livez.js
# Whether the process answers. A Redis, Kafka or Temporal that is away does not make it unhealthy: a restart would not
# mend that. It looks where KEYMEND_PORT says, the port of `http` in keymend.yaml, and nowhere without it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s CMD ["/nodejs/bin/node", "/app/docker/livez.js"]
ENTRYPOINT ["/nodejs/bin/node", "/app/dist/src/cli/main.js"]
CMD ["start"]
