# The image of all roles: headgate, the libraries it is linked to, the certificate authorities. No shell,
# no package manager; OpenSSH's client for ssh: URLs. Headgate starts the git program for file: URLs only, which
# clusters do not use.
FROM rust:1.95.0-bookworm AS build
# Else rustup would fetch the linters that rust-toolchain.toml asks for.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin headgate && cp target/release/headgate /headgate
RUN apt-get update -qq && apt-get install -qq --no-install-recommends openssh-client
RUN set -eu; \
    install -D /headgate /image/usr/local/bin/headgate; \
    install -D /usr/bin/ssh /image/usr/bin/ssh; \
    for library in $(ldd /headgate /usr/bin/ssh | grep -o '/lib[^ ]*\.so[^ ]*' | sort -u); do install -D "$library" "/image$library"; done; \
    install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt; \
    echo 'hosts: files dns' > /image/etc/nsswitch.conf; \
    echo 'headgate:x:65532:65532::/var/lib/headgate:/' > /image/etc/passwd; \
    echo 'headgate:x:65532:' > /image/etc/group; \
    install -d -o 65532 -g 65532 /image/var/lib/headgate; \
    install -d -m 1777 /image/tmp

FROM scratch
LABEL org.opencontainers.image.title="headgate" \
      org.opencontainers.image.description="Makes Git the only source of network policy in a Kubernetes cluster" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
WORKDIR /var/lib/headgate
# Answers of the webhook; health and metrics.
EXPOSE 8443 8080
ENTRYPOINT ["/usr/local/bin/headgate"]
CMD ["--help"]
