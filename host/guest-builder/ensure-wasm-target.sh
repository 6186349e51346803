#!/usr/bin/env bash
# Makes `rustc --target wasm32-wasip2` work for the toolchain in use, and says how.
#
#   ensure-wasm-target.sh           make sure of it; about a second if it works already
#   ensure-wasm-target.sh --check   say whether it works, change nothing
#   ensure-wasm-target.sh --bundle FILE.tar.xz
#                                   pack what works here, for machines without a network
#
# What is tried, in this order, until one works:
#   rustup        rustup target add, where rustup manages the toolchain
#   bundle        the file named by WASM_TARGET_BUNDLE, made by --bundle with this rustc
#   distribution  Debian's rust-src of this very version and wasi-libc, fetched into a temporary
#                 directory; std is built from them. Nothing is installed but the target.
#
# Environment: RUSTC, CARGO, RUSTUP (the programs), WASM_TARGET_BUNDLE,
#   WASM_TARGET_WITHOUT="rustup distribution" (ways not to try),
#   WASM_TARGET_MIRROR, WASM_TARGET_SUITES (another Debian archive, other suites in it)
#
# It writes to the toolchain's lib/rustlib alone, under a lock, and what stood there comes back if
# the new one does not work.
set -euo pipefail

target=wasm32-wasip2
rustc=${RUSTC:-rustc} cargo=${CARGO:-cargo} rustup=${RUSTUP:-rustup}

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

sysroot=$("$rustc" --print sysroot) || fail "$rustc does not run"
release=$("$rustc" -vV | sed -n 's/^release: //p')
commit=$("$rustc" -vV | sed -n 's/^commit-hash: //p')
rustlib=$sysroot/lib/rustlib
installed=$rustlib/$target

scratch=$(mktemp -d "${TMPDIR:-/tmp}/ensure-wasm-target.XXXXXX")
staged=
trap 'rm -rf "$scratch" ${staged:+"$staged"}' EXIT
trap 'exit 130' INT TERM

# A file that exists is not a target that works: std without bitcode links, and then every guest
# with `lto = true` fails. So build what a guest needs: a component, fat LTO, the test harness.
works() {
    printf '%s\n' 'fn main() { println!("{:?}", std::fs::read_dir("/").map(|d| d.count())); }' \
        '#[test] fn t() {}' > "$scratch/probe.rs"
    local common=(--edition 2024 --target "$target" "$scratch/probe.rs")
    "$rustc" "${common[@]}" -Clto=fat -Cpanic=abort -o "$scratch/probe.wasm" &&
        "$rustc" "${common[@]}" --test -o "$scratch/harness.wasm" &&
        # The fourth pair tells a component from a module.
        [ "$(od -An -tx2 --endian=little -j4 -N4 "$scratch/probe.wasm" | tr -d ' ')" = 000d0001 ]
} > "$scratch/probe.log" 2>&1

# put DIRECTORY: make it the installed target, or leave everything as it was.
put() {
    local before=$rustlib/.before-$target.$$
    [ ! -e "$installed" ] || mv "$installed" "$before"
    mv "$1" "$installed"
    if works; then rm -rf "$before"; return; fi
    rm -rf "$installed"
    [ ! -e "$before" ] || mv "$before" "$installed"
    say "  what came of it does not work: $(grep -m1 -i error "$scratch/probe.log" || true)"
    return 1
}

by_rustup() {
    command -v "$rustup" > /dev/null || { say "  there is no rustup"; return 1; }
    local toolchain='' name aside=''
    for name in $("$rustup" toolchain list 2> /dev/null | awk '{print $1}'); do
        if [ "$("$rustup" run "$name" rustc --print sysroot 2> /dev/null)" = "$sysroot" ]; then
            toolchain=$name
        fi
    done
    [ -n "$toolchain" ] || { say "  rustup does not manage $sysroot"; return 1; }
    # It refuses to write over files that it did not put there.
    if [ -e "$installed" ] && [ ! -e "$rustlib/manifest-rust-std-$target" ]; then
        aside=$rustlib/.aside-$target.$$
        mv "$installed" "$aside"
    fi
    if RUSTUP_MAX_RETRIES=1 timeout 180 "$rustup" target add --toolchain "$toolchain" "$target" \
        > "$scratch/rustup.log" 2>&1 && works; then
        rm -rf ${aside:+"$aside"}
        return
    fi
    say "  $(grep -m1 -i '^error' "$scratch/rustup.log" || tail -n1 "$scratch/rustup.log")"
    if [ -n "$aside" ]; then rm -rf "$installed"; mv "$aside" "$installed"; fi
    return 1
}

by_bundle() {
    local bundle=${WASM_TARGET_BUNDLE:-}
    [ -n "$bundle" ] || { say "  WASM_TARGET_BUNDLE is not set"; return 1; }
    [ -f "$bundle" ] || { say "  $bundle does not exist"; return 1; }
    if [ "$(tar -xOf "$bundle" commit 2> /dev/null)" != "$commit" ]; then
        say "  $bundle was made with another rustc than $release"
        return 1
    fi
    tar -xf "$bundle" -C "$staged" "$target" && put "$staged/$target"
}

by_distribution() {
    local program
    for program in apt-get apt-cache dpkg-deb; do
        command -v "$program" > /dev/null || { say "  no $program: not a Debian machine"; return 1; }
    done
    private_apt || return 1
    # 1.95.0+dfsg1-2 is the release; 1.95.0~beta.3 is not.
    unpack rust-src "^${release//./\\.}([+-]|\$)" /library/sysroot/Cargo.toml || return 1
    unpack wasi-libc . "/usr/lib/$target/libc.a" || return 1
    build_std && put "$staged/$target"
}

# An apt of our own: own state and cache, and of the machine's settings only those that say how to
# reach the archive. Signatures are checked with the distribution's own keys.
private_apt() {
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r "$keys" ] || { say "  $keys is missing (package debian-archive-keyring)"; return 1; }
    archive=${WASM_TARGET_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' \
        'Created-By: Packages' 2> /dev/null | awk '$2 == "main" && $1 !~ /security/ {print $1; exit}')}
    [ -n "$archive" ] || { say "  apt knows no archive here; name one in WASM_TARGET_MIRROR"; return 1; }
    apt=$scratch/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/none"
    : > "$apt/status"
    cat > "$apt/conf" << CONF
Dir::State "$apt"; Dir::State::lists "$apt/lists"; Dir::State::status "$apt/status";
Dir::Cache "$apt/cache"; Dir::Etc::sourcelist "$apt/sources"; Dir::Etc::sourceparts "$apt/none";
Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "$apt/none";
Acquire::Languages "none"; Acquire::Retries "2"; APT::Sandbox::User "";
APT::Update::Post-Invoke ""; APT::Update::Post-Invoke-Success "";
CONF
    export APT_CONFIG=$apt/conf
}

# unpack PACKAGE VERSION-PATTERN FILE: the first suite's package whose version matches and which
# holds the file, unpacked in $scratch/PACKAGE.
unpack() {
    local package=$1 pattern=$2 wanted=$3 suite version deb seen=''
    local suites=${WASM_TARGET_SUITES:-stable-backports stable oldstable-backports testing unstable experimental}
    for suite in $suites; do
        echo "deb [signed-by=$keys] $archive $suite main" > "$apt/sources"
        apt-get -qq update > "$apt/log" 2>&1 || continue
        for version in $(apt-cache madison "$package" 2> /dev/null | awk '{print $3}'); do
            seen+=" $suite:$version"
            [[ $version =~ $pattern ]] || continue
            (cd "$scratch" && apt-get -qq download "$package=$version") > "$apt/log" 2>&1 || continue
            deb=$(echo "$scratch/$package"_*.deb)
            dpkg-deb -c "$deb" > "$scratch/list"
            if grep -q "$wanted\$" "$scratch/list"; then
                dpkg-deb -x "$deb" "$scratch/$package"
                say "  $package $version from $suite"
                return
            fi
            rm -f "$deb"
        done
    done
    say "  no $package that fits rustc $release (seen:${seen:- none})"
    return 1
}

build_std() {
    local library
    library=$(find "$scratch/rust-src" -maxdepth 5 -type d -path '*/library/sysroot' | head -n1)
    library=${library%/sysroot}
    [ -f "$library/std/Cargo.toml" ] || { say "  rust-src holds no library/std"; return 1; }
    say "  building std, a minute or three"
    # Bitcode, or no guest could have `lto = true`. The metadata word keeps std's copies of crates
    # apart from a guest's own. The dependencies come from the registry, as std's lock file has
    # them: rust-src's vendored copies lack wit-bindgen's object files.
    if ! (cd "$library/sysroot" && env -u CARGO_BUILD_TARGET -u CARGO_ENCODED_RUSTFLAGS -u RUSTC_WRAPPER \
        -u RUSTC_WORKSPACE_WRAPPER RUSTC="$sysroot/bin/rustc" RUSTC_BOOTSTRAP=1 \
        __CARGO_DEFAULT_LIB_METADATA="$release-std" CARGO_TARGET_DIR="$scratch/std" CARGO_INCREMENTAL=0 \
        RUSTFLAGS="-Cembed-bitcode=yes -Zforce-unstable-if-unmarked --remap-path-prefix=$library=/rustc/$commit/library" \
        "$cargo" build --release --locked --target "$target" --features "panic-unwind backtrace" \
        > "$scratch/std.log" 2>&1); then
        say "  std does not build: $(grep -m1 '^error' "$scratch/std.log" || tail -n1 "$scratch/std.log")"
        return 1
    fi
    mkdir -p "$staged/$target/lib/self-contained"
    cp "$scratch/std/$target/release/deps/"*.rlib "$staged/$target/lib/"
    cp "$scratch/wasi-libc/usr/lib/$target/"*.[ao] "$staged/$target/lib/self-contained/"
    chmod -R u+rwX,go+rX "$staged"
}

case ${1:-} in
--check)
    works || { cat "$scratch/probe.log" >&2; exit 1; }
    exit ;;
--bundle)
    works || fail "$target does not work here, so there is nothing to pack"
    echo "$commit" > "$scratch/commit"
    tar -cJf "${2:?--bundle needs a file name}" --owner=0 --group=0 --sort=name --mtime=@0 \
        -C "$rustlib" "$target" -C "$scratch" commit
    exit ;;
'') ;;
*) fail "unknown word $1: --check or --bundle FILE" ;;
esac

if works; then exit; fi
[ -w "$rustlib" ] || fail "$target is missing and $rustlib cannot be written to"
exec 9> "$rustlib/.ensure-$target.lock"
flock 9
if works; then exit; fi
staged=$(mktemp -d "$rustlib/.staged-$target.XXXXXX") # where $installed is, so that mv renames

for way in rustup bundle distribution; do
    if [[ " ${WASM_TARGET_WITHOUT:-} " == *" $way "* ]]; then continue; fi
    say "$target is missing from rustc $release; trying: $way"
    if "by_$way"; then
        say "$target installed by way of: $way"
        exit
    fi
done
fail "$target cannot be had here (see above). Ways on: \`rustup target add $target\`; a bundle made
  elsewhere with this script's --bundle, in WASM_TARGET_BUNDLE; another rustc; or prebuilt
  components in FORESHORE_COMPONENTS, which need no target at all."
