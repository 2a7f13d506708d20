# syntax=docker/dockerfile:1

# The same Debian in both, so that the C library is the same. This one brings cc, c++, make and perl, with which OpenSSL
# and librdkafka are built; nothing else is needed.
FROM rust:1.90.0-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
RUN --mount=type=cache,id=squall-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=squall-target,target=/build/target,sharing=locked \
    cargo build --locked --release --bin squall \
    && install -D target/release/squall /out/squall

FROM debian:12.12-slim
# For https webhooks, TLS to Kafka and ClickHouse. zlib is linked by librdkafka.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/squall --shell /usr/sbin/nologin squall \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/squall
# Paths of the default configuration are relative to where squall starts: `models/squall-mini`, `data`.
WORKDIR /opt/squall
RUN ln -s /var/lib/squall data
COPY models models
COPY LICENSE ./
COPY --chmod=0755 deploy/squall-ready /usr/local/bin/squall-ready
COPY --from=build /out/squall /usr/local/bin/squall
USER 10001:10001
VOLUME /var/lib/squall
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=4 CMD ["/usr/local/bin/squall-ready"]
ENTRYPOINT ["/usr/local/bin/squall"]
CMD ["run"]
