# pgusher in a container: built with Rust's own image, run on a base without shell or packages.
#
#   docker build -t pgusher .
#   docker run --rm -v $PWD/pgusher:/etc/pgusher:ro pgusher migrate registry
#   docker run --rm -v $PWD/pgusher:/etc/pgusher:ro pgusher check
#   docker run --stop-timeout 40 -p 6432:6432 -p 8080:8080 -v $PWD/pgusher:/etc/pgusher:ro pgusher
#
# The folder has pgusher.toml and the files it names; user 65532 must be able to read them.
#
# PostgreSQL is not in it: `pgusher dev` needs one beside it, `pgusher serve` one on the network.

FROM rust:1-bookworm AS build
WORKDIR /build
# The dependencies are a layer of their own: it is built anew when Cargo.lock changes, not when
# the code does. A bench is not built, but Cargo wants to see every one that Cargo.toml names.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
    && echo 'fn main() {}' > src/main.rs \
    && : > src/lib.rs \
    && : > benches/instructions.rs \
    && cargo build --profile dist --locked \
    && rm -r src
COPY config config
COPY src src
# Cargo goes by time, and what was copied may be older than the empty files above.
RUN touch src/main.rs src/lib.rs \
    && cargo build --profile dist --locked \
    && strip --strip-debug target/dist/pgusher
# Where a unix socket can be put; none is by default, as the file system may be read-only.
RUN mkdir -p run/pgusher

# glibc, the certificates of the public authorities, and a user without rights (65532).
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/dist/pgusher /usr/local/bin/pgusher
COPY --from=build --chown=65532:65532 /build/run /run
COPY config/pgusher.toml /etc/pgusher/pgusher.toml
# A container's loopback is nobody's: listen on every address, and let -p decide what is seen. The
# environment stands over the file; -e changes it. Whoever asks the ops listener for more than
# metrics and health needs an operator's token there.
ENV PGUSHER_CONFIG=/etc/pgusher/pgusher.toml \
    PGUSHER_LISTEN__ADDRESSES='["0.0.0.0:6432"]' \
    PGUSHER_HTTP__ADDRESS='0.0.0.0:8080' \
    PGUSHER_OPS__ADDRESS='0.0.0.0:9432'
USER nonroot
EXPOSE 6432 8080 9432
# Sessions have runtime.drain_timeout (30 s) to end, and the process up to 8 s more: longer than
# Docker (10 s) and Kubernetes (30 s) wait by themselves.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/pgusher", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/pgusher"]
CMD ["serve"]
