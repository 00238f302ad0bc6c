# syntax=docker/dockerfile:1

FROM rust:1.95 AS build
WORKDIR /src
COPY . .
# Linked statically, so that the agent runs in any data store's image. Naming the target keeps the
# flags away from build scripts and macros, which can't be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(rustc --print host-tuple)" \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target "$target" \
        --package trading-operator --package trading-agent \
    && install -D -t /out "target/$target/release/trading-operator" "target/$target/release/trading-agent"

FROM scratch
COPY --from=build /out/ /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/trading-operator"]
