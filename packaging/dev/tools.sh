# What ./dev needs to install and start things; sourced, not run.
# shellcheck shell=bash

CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/private-meet/target}
export CARGO_TARGET_DIR
[ -d "$HOME/.cargo/bin" ] && PATH=$HOME/.cargo/bin:$PATH

# One list a line of reasoning; `./dev setup` installs what is missing, on Debian and Ubuntu.
PACKAGES_BUILD=(
  build-essential pkg-config clang libclang-dev cmake nasm curl ca-certificates git
  libavcodec-dev libavformat-dev libavutil-dev libavdevice-dev libswscale-dev libswresample-dev
  libvpx-dev libasound2-dev libpipewire-0.3-dev libgbm-dev libegl-dev libxcb1-dev
)
# What the window opens at run time and no build links.
PACKAGES_RUN=(
  libx11-6 libx11-xcb1 libxcursor1 libxi6 libxkbcommon-x11-0 libwayland-client0 libvulkan1
  fonts-dejavu-core
)
PACKAGES_TEST=(
  chromium xvfb xauth openbox imagemagick ffmpeg mesa-vulkan-drivers pulseaudio pulseaudio-utils
  libasound2-plugins tesseract-ocr x11-utils xdotool iproute2 nftables
  coturn nats-server
)
CARGO_DENY_VERSION=0.20.2
NODE_MAJOR=20
RUST_MINOR=95

say() { printf '\033[1m· %s\033[0m\n' "$*"; }
die() { printf '\033[31m%s\033[0m\n' "$*" >&2; exit 1; }

step() { # step COMMAND…: names the failing step
  trap 'code=$?; printf "\033[31m./dev failed (exit %s) at: %s\033[0m\n" "$code" "$BASH_COMMAND" >&2; exit "$code"' ERR
  set -E
  "$@"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "these packages are missing and there is no sudo; as root, run: $*"
  fi
}

missing_packages() { # those of "$@" that dpkg doesn't know as installed
  local package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
      printf '%s\n' "$package"
  done
}

install_packages() {
  if ! command -v apt-get >/dev/null; then
    if [ -z "${PRIVATE_MEET_PACKAGES_OK:-}" ]; then
      die "this system has no apt. Install what these Debian packages stand for, then run again with PRIVATE_MEET_PACKAGES_OK=1: $*"
    fi
    return
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} = 0 ] && return
  say "Installing ${#missing[@]} system packages: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
}

setup_rust() {
  if ! command -v cargo >/dev/null; then
    say "Installing Rust with rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --profile minimal --component clippy,rustfmt --no-modify-path
    PATH=$HOME/.cargo/bin:$PATH
  fi
  local minor
  minor=$(rustc --version | sed -E 's/^rustc 1\.([0-9]+).*/\1/')
  [ "$minor" -ge "$RUST_MINOR" ] ||
    die "Rust 1.$RUST_MINOR or newer is needed, this is $(rustc --version): run 'rustup update stable'"
}

setup_build() {
  install_packages "${PACKAGES_BUILD[@]}"
  setup_rust
}

setup_run() {
  install_packages "${PACKAGES_RUN[@]}"
}

setup_test() {
  install_packages "${PACKAGES_RUN[@]}" "${PACKAGES_TEST[@]}"
  local component
  for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 ||
      rustup component add "${component/fmt/rustfmt}"
  done
  setup_node
  if ! cargo deny --version 2>/dev/null | grep -q "$CARGO_DENY_VERSION"; then
    say "Installing cargo-deny $CARGO_DENY_VERSION (a few minutes, once)"
    cargo install --quiet --locked --root "$HOME/.cargo" \
      --target-dir "$CARGO_TARGET_DIR/tools" "cargo-deny@$CARGO_DENY_VERSION"
    rm -rf -- "$CARGO_TARGET_DIR/tools"
  fi
}

setup_node() {
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    install_packages nodejs npm
  fi
  local major
  major=$(node --version | sed -E 's/^v([0-9]+).*/\1/')
  [ "$major" -ge "$NODE_MAJOR" ] && return
  # Debian 12 and Ubuntu 24.04 have an older Node; the npm registry carries the program itself.
  local tools=$CARGO_TARGET_DIR/node
  if [ ! -x "$tools/node_modules/node/bin/node" ]; then
    say "Installing Node $NODE_MAJOR for the tests (this system has $(node --version))"
    npm install --silent --no-save --prefix "$tools" "node@$NODE_MAJOR"
  fi
  PATH=$tools/node_modules/node/bin:$PATH
}

npm_install() { # the test tools of e2e/, only when their lock changed
  local stamp=e2e/node_modules/.stamp
  if ! cmp -s e2e/package-lock.json "$stamp" 2>/dev/null; then
    say "Installing the test tools of e2e/"
    npm ci --prefix e2e --silent --no-audit --no-fund
    cp e2e/package-lock.json "$stamp"
  fi
}

has_display() { [ -n "${DISPLAY:-}" ] || [ -n "${WAYLAND_DISPLAY:-}" ]; }

exec_run() { # exec_run SERVER APP [OPTIONS…]: a server of one's own and, where there is a display, the app
  local server=$1 app=$2 log fifo line url='' fingerprint='' pid
  shift 2
  log=$(mktemp) fifo=$(mktemp -u)
  mkfifo "$fifo"
  "$server" "${PRIVATE_MEET_SERVER_OPTIONS[@]:---tls=self}" >"$fifo" 2>"$log" &
  pid=$!
  # shellcheck disable=SC2064
  trap "kill $pid 2>/dev/null || true; wait $pid 2>/dev/null || true; rm -f '$fifo' '$log'" EXIT
  trap 'exit 130' INT TERM
  exec 3<"$fifo"
  while IFS= read -r -t 30 line <&3; do
    case "$line" in
      "listening on "*) url=${line#listening on } ;;
      "certificate fingerprint "*) fingerprint=${line#certificate fingerprint }; break ;;
    esac
  done
  [ -n "$url" ] || { cat "$log" >&2; die "the server did not start"; }
  local room
  room=$(cat /proc/sys/kernel/random/uuid)
  say "The server runs at $url"
  say "In a browser, open $url/#/room/$room (its certificate is self-made: the browser asks once)"
  if has_display; then
    say "Opening the app; closing its window ends the server, too"
    "$app" --server "$url" --fingerprint "$fingerprint" --room "$room" "$@"
  else
    say "There is no display here, so only the server runs. Ctrl+C ends it."
    cat <&3 >/dev/null &
    wait "$pid"
  fi
}
