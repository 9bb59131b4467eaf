# The service alone: its Postgres is elsewhere, at DATABASE_URL (compose.yaml has one).
FROM oven/bun:1.4.5-slim AS packages
WORKDIR /app
COPY package.json bun.lock ./
COPY scripts/patches scripts/patches
RUN bun install --frozen-lockfile --production --omit=optional --ignore-scripts

FROM oven/bun:1.4.5-slim
WORKDIR /app
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
COPY --from=packages /app/node_modules node_modules
COPY package.json LICENSE ./
COPY sql sql
COPY src src
USER bun
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["bun", "src/main.ts", "health"]
ENTRYPOINT ["bun", "src/main.ts"]
CMD ["start"]
