#!/usr/bin/env bash
# Builds what the test control plane runs: etcd, kube-apiserver, kube-controller-manager,
# kubectl and helm, from the versions pinned by go.mod and helm/go.mod beside this script.
#
# The binaries go into a cache folder whose name is a hash of everything they are made from, so
# they are built once per machine, whatever the number of clones. The last and only line on
# stdout is that folder; progress goes to stderr. Takes minutes cold (and about 3 GB of Go's own
# build cache, which `go clean -cache` gives back), some milliseconds warm.
#
#   HEADGATE_CACHE_DIR   where to keep them; default ${XDG_CACHE_HOME:-~/.cache}/headgate
set -euo pipefail

began_in=$PWD
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cd "$here"

fail() {
    printf '%s: %s\n' "build.sh" "$1" >&2
    exit 1
}

# The first word after $1 in the go.mod file $2: "k8s.io/kubernetes" -> "v1.36.3".
pinned() {
    awk -v key="$1" '$1 == "require" { $1 = ""; $0 = $0 } $1 == key && $2 != "=>" { print $2; exit }' "$2"
}

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1
}

# --- Go -----------------------------------------------------------------------------------------

wanted=$(pinned go go.mod)
command -v go >/dev/null ||
    fail "Go is not installed (or not in PATH); the test control plane is built from source and needs Go $wanted or newer"

# A workspace around this checkout must not change what is built.
export GOWORK=off
# Static binaries: no C compiler needed, and they run wherever they are copied.
export CGO_ENABLED=0

# Asked inside the module, so that an older Go may fetch the toolchain it wants if GOTOOLCHAIN
# lets it. What it says about that goes to stderr, as all progress does.
go_env=$(go env GOVERSION GOOS GOARCH) ||
    fail "Go $wanted or newer is needed to build the test control plane from source"
read -r go_version _ <<<"$go_env"
go_number=${go_version#go}
if [[ $(printf '%s\n' "$wanted" "${go_number%%[-+]*}" | sort -V | sed -n 1p) != "$wanted" ]]; then
    fail "Go $wanted or newer is needed, this is $go_version"
fi

# --- what is built, and from what ---------------------------------------------------------------

kubernetes=$(pinned k8s.io/kubernetes go.mod)
helm=$(pinned helm.sh/helm/v3 helm/go.mod)
helm_kubernetes=$(pinned k8s.io/client-go helm/go.mod)
[[ -n $kubernetes && -n $helm && -n $helm_kubernetes ]] ||
    fail "cannot read the pinned versions from go.mod and helm/go.mod"

# "v1.36.3" -> "36"; libraries are numbered v0.36.3, which gives the same.
minor() {
    local rest=${1#*.}
    printf '%s' "${rest%%.*}"
}

kubernetes_flags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    kubernetes_flags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=$(minor "$kubernetes")"
    kubernetes_flags+=" -X $package.gitTreeState=clean"
done
# What `helm template` believes the cluster to be, set as helm's own releases set it.
helm_flags="-s -w -X helm.sh/helm/v3/internal/version.version=$helm"
for package in helm.sh/helm/v3/pkg/lint/rules helm.sh/helm/v3/pkg/chartutil; do
    helm_flags+=" -X $package.k8sVersionMajor=1 -X $package.k8sVersionMinor=$(minor "$helm_kubernetes")"
done

# name, module folder, package, linker flags
targets=(
    "etcd|.|go.etcd.io/etcd/server/v3|-s -w"
    "kube-apiserver|.|k8s.io/kubernetes/cmd/kube-apiserver|$kubernetes_flags"
    "kube-controller-manager|.|k8s.io/kubernetes/cmd/kube-controller-manager|$kubernetes_flags"
    "kubectl|.|k8s.io/kubernetes/cmd/kubectl|$kubernetes_flags"
    "helm|helm|helm.sh/helm/v3/cmd/helm|$helm_flags"
)

key=$({
    printf '%s\n' "$go_env" "${targets[@]}"
    cat go.mod go.sum helm/go.mod helm/go.sum
} | sha256)
cache=${HEADGATE_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:?HOME is not set; set HEADGATE_CACHE_DIR}/.cache}/headgate}
[[ $cache == /* ]] || cache=$began_in/$cache
out=$cache/controlplane/${key:0:16}

# A binary gets its name only when it is whole, so being there is being done.
missing() {
    local target
    for target in "${targets[@]}"; do
        [[ -x $out/${target%%|*} ]] || return 0
    done
    return 1
}

# --- building -----------------------------------------------------------------------------------

build() {
    local number=$1 name=$2 module=$3 package=$4 flags=$5 began=$SECONDS
    local log=$work/$name.log title="building $name ($number of ${#targets[@]})"
    if [[ -t 2 ]]; then printf '%s ... ' "$title" >&2; else printf '%s\n' "$title" >&2; fi

    # The lock's descriptor stays here: a child that outlives this script must not hold it.
    if ! (cd "$module" && go build -mod=readonly -trimpath -buildvcs=false -ldflags "$flags" \
        -o "$work/$name" "$package") >"$log" 2>&1 9>&-; then
        [[ -t 2 ]] && printf 'failed\n' >&2
        tail -n 30 "$log" >&2
        fail "building $name failed"
    fi
    mv "$work/$name" "$out/$name"
    if [[ -t 2 ]]; then
        printf '%d s\n' "$((SECONDS - began))" >&2
    else
        printf '%s ... %d s\n' "$title" "$((SECONDS - began))" >&2
    fi
}

if missing; then
    mkdir -p "$out"
    # Without flock two callers at once build everything twice, which is slow but not wrong.
    exec 9>"$out/.lock"
    if command -v flock >/dev/null; then
        if ! flock --nonblock 9; then
            printf 'waiting for another build of the test control plane\n' >&2
            flock 9
        fi
        # Left behind by a build that was killed; nobody else builds here now.
        rm -rf "$out"/.build.*
    fi
    work=$(mktemp -d "$out/.build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    number=0
    for target in "${targets[@]}"; do
        number=$((number + 1))
        IFS='|' read -r name module package flags <<<"$target"
        [[ -x $out/$name ]] || build "$number" "$name" "$module" "$package" "$flags"
    done
fi

printf '%s\n' "$out"
