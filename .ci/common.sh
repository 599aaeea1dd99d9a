# Sourced by every script here: strict mode, the root of the workspace, and the few words the scripts are written in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Nothing is built twice here, and what is made for the next build, or for a debugger, makes this one slower.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=none CARGO_PROFILE_TEST_DEBUG=none
export CARGO_TERM_COLOR=never RUST_BACKTRACE=1 INSTA_UPDATE=no
: "${CI_START:=$(date +%s)}"
export CI_START

ci=target/ci # logs, downloads, texts to compare; safe to delete
mkdir -p "$ci"

step() { printf '\n== %4d s  %s\n' $(($(date +%s) - CI_START)) "$*"; }
skip() { printf 'SKIPPED by name: %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# apt_install PACKAGE...: on Debian and its kin; a flaky mirror gets three tries.
apt_install() {
    have apt-get || fail "apt-get is missing; install by hand: $*"
    local sudo=() try
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    for try in 1 2 3; do
        if timeout 600 "${sudo[@]}" apt-get update &&
            DEBIAN_FRONTEND=noninteractive timeout 900 "${sudo[@]}" apt-get install -y --no-install-recommends "$@"; then
            return
        fi
        echo "apt-get failed (try $try of 3)"
        sleep $((try * 10))
    done >"$ci/apt.log" 2>&1
    tail -n 40 "$ci/apt.log"
    fail "apt-get could not install: $*"
}

# tests LOG COMMAND...: runs a `cargo test` command for at most 30 minutes, shows all that it says, and asks for its closing
# lines: a runner that dies quietly, or finds no tests, has not passed.
tests() {
    local log=$ci/$1
    shift
    local status=0
    timeout --kill-after=30 1800 "$@" 2>&1 | tee "$log" || status=$?
    awk '/^test result: / { binaries++; passed += $4; failed += $6; ignored += $8 }
         END { printf "%d test binaries: %d tests passed, %d failed, %d ignored\n", binaries, passed, failed, ignored
               exit !(passed > 0 && failed == 0) }' "$log" || fail "no passing test result in $log"
    [ "$status" = 0 ] || fail "exit code $status: $*"
}

# The tests that run kernels or a model, for which alone two CPUs of a family differ, as cargo test wants them.
multiplying=(--lib)
for test in kernels/tests/*.rs tests/{hf,tiny,coarse,demo,no_alloc,pack_cache,prompt_cache,cli_samples,cli_doctor}.rs; do
    multiplying+=(--test "$(basename "$test" .rs)")
done

tiny=tests/data/tiny-chat.gguf
# greedy_text COMMAND...: what a wattle (behind its emulator, if any) writes after a prompt, always choosing the likeliest token.
run_flags=() # more flags
greedy_text() {
    timeout --kill-after=10 300 "$@" run -m "$tiny" "${run_flags[@]}" -p "The history of bread begins" -n 24 -t 2 --temp 0 --ignore-eos --no-cnv
}

# same_text NAME COMMAND...: that text must be the one that the native build gave.
same_text() {
    local name=$1
    shift
    if [ ! -s "$ci/tiny.native.txt" ]; then
        cargo test --locked --workspace --no-run
        greedy_text target/debug/wattle >"$ci/tiny.native.txt" 2>"$ci/tiny.native.err" || {
            cat "$ci/tiny.native.err" >&2
            fail "wattle run on $tiny"
        }
        [ -s "$ci/tiny.native.txt" ] || fail "wattle run on $tiny wrote nothing"
    fi
    greedy_text "$@" >"$ci/tiny.$name.txt" 2>"$ci/tiny.$name.err" || {
        cat "$ci/tiny.$name.err" >&2
        fail "wattle run on $tiny under $name"
    }
    cmp "$ci/tiny.native.txt" "$ci/tiny.$name.txt" || fail "another text under $name than on this machine"
    echo "wattle run under $name: the same text as on this machine"
}

# arm_tools [COMMAND PACKAGE]...: what cross builds for aarch64 need, and each command from its package.
#
# Debian's own Rust (1.96) brings the aarch64 standard library as a package, so the cross build has a target folder and a
# cargo of its own. QEMU gets no -L: with Debian's /usr/aarch64-linux-gnu the first pthread_create never returns (edge of
# libc6-arm64-cross 2.36), while the loader and libc of libc6:arm64, found at their usual paths, work.
arm=aarch64-unknown-linux-gnu
arm_tools() {
    local packages=() sudo=()
    while [ $# -gt 0 ]; do
        have "$1" || packages+=("$2")
        shift 2
    done
    if ! { [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/$arm/lib ] && [ -e /lib/ld-linux-aarch64.so.1 ] &&
        have aarch64-linux-gnu-gcc; }; then
        have dpkg || fail "the ARM tests install Debian packages, and this system has no dpkg"
        [ "$(id -u)" = 0 ] || sudo=(sudo)
        "${sudo[@]}" dpkg --add-architecture arm64
        packages+=(rustc-web cargo-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6:arm64 libgcc-s1:arm64)
    fi
    [ ${#packages[@]} = 0 ] || apt_install "${packages[@]}"
}

# zig_tools: zig as the linker of cross builds, and the cargo command that makes it one, from PyPI into $ci; sets $zig.
# It knows every glibc, so that the program asks for no newer one than it must, whatever the building machine has.
zig=$PWD/$ci/zig
zig_tools() {
    local wanted=(ziglang==0.17.1 cargo-zigbuild==0.24.1)
    [ "$(cat "$zig/wanted" 2>/dev/null)" = "${wanted[*]}" ] && return
    rm -rf "$zig"
    local pip=(python3 -m pip)
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3-pip
    timeout 600 "${pip[@]}" install --quiet --disable-pip-version-check --no-deps --target "$zig" "${wanted[@]}" >"$ci/zig.log" 2>&1 || {
        cat "$ci/zig.log"
        fail "pip could not install: ${wanted[*]}"
    }
    echo "${wanted[*]}" >"$zig/wanted"
}

# arm_release: builds the program as users get it, for aarch64 and systems with $arm_glibc or later; $arm_wattle is its path. The
# longer names (v0) tell which format and which instruction set a function is compiled for, and change nothing else. Cargo asks the
# linker to drop debug information, for which zig drops the names too: strip=none keeps both, and the package drops them.
arm_glibc=2.28
arm_wattle=target/arm/$arm/release/wattle
arm_release() {
    zig_tools
    PATH=$zig/bin:$PATH PYTHONPATH=$zig CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=target/arm \
        RUSTFLAGS="-C symbol-mangling-version=v0" \
        cargo-zigbuild rustc --locked --release --bin wattle --target $arm.$arm_glibc -- -C strip=none
}
