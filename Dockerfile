# Bridge and worker, one image: `docker run keymend bridge`, `… worker`, or any other verb of the command line.
# Debian, because Temporal's worker comes as a native library for glibc.
FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# The package builds itself after an install, for which its sources are not there yet.
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM node:22-bookworm-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/*
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/schemas ./schemas
USER node
ENTRYPOINT ["node", "/app/dist/src/cli/main.js"]
CMD ["start"]
