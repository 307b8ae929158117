# One image for all roles; what a container may do comes from its command, its secrets and its networks.
FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
COPY service/package.json ./service/
COPY scripts/package.json ./scripts/
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json nest-cli.json ./
COPY src ./src
COPY web ./web
COPY scripts ./scripts
RUN npm run build && npm ci --omit=dev --workspace=countersign-service --ignore-scripts --no-audit --no-fund

FROM node:22-bookworm-slim AS base
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/package.json ./
COPY --from=build /app/dist ./dist
COPY models ./models
USER node
ENTRYPOINT ["node"]

# The worker's image does not hold the attestor's code at all.
FROM base AS worker
USER root
RUN rm -rf dist/roles/attestor dist/roles/api dist/roles/courier dist/roles/cli dist/core/confirmation dist/dashboard
# Where a worker that was invited makes its key: the volume there takes this mode over, whoever the container runs as.
RUN mkdir -p -m 755 /var/lib/countersign && mkdir -m 1777 /var/lib/countersign/own
USER node
CMD ["dist/roles/worker/main.js"]

FROM base AS full
CMD ["dist/roles/cli/main.js", "--help"]
