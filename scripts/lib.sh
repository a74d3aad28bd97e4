# Shared by the scripts: sourced, never run. Says what it does, installs what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# say WORDS: one line about what happens next.
say() { printf '== %s\n' "$*"; }

# need COMMAND[=PACKAGE]...: installs the Debian packages whose commands are missing.
need() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair##*=}")
  done
  [ "${#missing[@]}" -eq 0 ] || install_packages "${missing[@]}"
}

# need_venv: python3 with what `python3 -m venv` needs, which Debian keeps in a package of its own.
need_venv() {
  need python3
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
}

# install_packages PACKAGE...: installs them with apt-get, and says so.
install_packages() {
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  say "installing: $*"
  "${sudo[@]}" apt-get update --quiet=2
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install --yes --quiet=2 "$@"
}

# target_folder: where cargo builds.
target_folder() { echo "${CARGO_TARGET_DIR:-target}"; }

# wait_until SECONDS COMMAND...: runs the command until it succeeds; fails when time is over.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

# browser_folder: a folder with the players and playwright-core, installed from the npm registry if
# they are missing; prints its absolute path.
browser_folder() {
  local folder
  folder=$(mkdir -p "$(target_folder)/players" && cd "$(target_folder)/players" && pwd)
  cp tests/players/package.json "$folder/"
  if ! [ -d "$folder/node_modules/hls.js" ]; then
    say "installing hls.js, dash.js, shaka-player and playwright-core from the npm registry" >&2
    npm install --prefix "$folder" --no-audit --no-fund --silent >&2
  fi
  echo "$folder"
}
