#!/usr/bin/env bash
# Installs the real clients that the tests drive: skopeo, podman, crane, helm, ...
#
# It is idempotent and returns at once when everything is present. Programs built with Go go to
# ${BERTH_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/berth-tools}/bin, with one stamp per version so that a
# changed version is rebuilt. Debian packages are installed only as root and only where apt-get exists.
# What cannot be installed is named in one line each; the tests that need it skip and say the same.
#
# Usage: install.sh [NAME...]
#   Without a name it installs everything; with names it builds only these programs.
# Environment:
#   BERTH_TOOLS          the directory that receives the programs
#   BERTH_REQUIRE_ALL=1  exit 1 when something is missing at the end
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${BERTH_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/berth-tools}
bin=$root/bin
stamps=$root/stamps
only=$*
PATH=$bin:$PATH:/usr/sbin:/sbin

say() { printf 'tools: %s\n' "$*" >&2; }

# rows FILE prints the lines of a table without comments and blank lines.
rows() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$1"; }

# wanted NAME tells whether a program of go-tools.txt belongs to this run.
wanted() {
	[[ -z $only || " $only " == *" $1 "* ]]
}

install_packages() {
	local program package missing=()
	while read -r program package; do
		if ! command -v "$program" >/dev/null && [[ " ${missing[*]-} " != *" $package "* ]]; then
			missing+=("$package")
		fi
	done < <(rows "$here/apt-tools.txt")
	if ((${#missing[@]} == 0)); then
		return
	fi
	if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
		return
	fi
	say "installing with apt-get: ${missing[*]}"
	local log=$root/apt.log
	# The package lists of a fresh machine are empty or old, so refresh them only after a first failure.
	if apt_install "${missing[@]}" >"$log" 2>&1; then
		return
	fi
	if apt-get update >>"$log" 2>&1 && apt_install "${missing[@]}" >>"$log" 2>&1; then
		return
	fi
	say "apt-get could not install them: $(tail -n 1 "$log") (all of it in $log)"
}

# apt_install keeps the services of the packages from starting: the tests start their own, on their own ports.
apt_install() {
	local policy=/usr/sbin/policy-rc.d made=0 status=0
	if [[ ! -e $policy ]]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 0755 "$policy" && made=1
	fi
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" || status=$?
	if ((made)); then
		rm -f "$policy"
	fi
	return "$status"
}

install_go_programs() {
	local name package stamp started log
	if ! command -v go >/dev/null; then
		say "no go command on PATH, so nothing can be built"
		return
	fi
	while read -r name package; do
		stamp=$stamps/$name
		if ! wanted "$name" || { [[ -x $bin/$name && -f $stamp ]] && [[ $(<"$stamp") == "$package" ]]; }; then
			continue
		fi
		started=$SECONDS
		log=$root/$name.log
		# Built in / so that no go.mod or go.work of the caller takes part. Without cgo no C compiler is needed.
		if (cd / && GOWORK=off CGO_ENABLED=0 GOBIN=$bin nice -n 10 go install "$package") >"$log" 2>&1; then
			printf '%s\n' "$package" >"$stamp"
			rm -f "$log"
			say "built $name (${package##*@}) in $((SECONDS - started)) s"
		else
			say "could not build $package: $(tail -n 1 "$log") (all of it in $log)"
		fi
	done < <(rows "$here/go-tools.txt")
}

# report names what is missing, one line each, and returns 1 when there is any.
report() {
	local name source status=0
	while read -r name source; do
		if wanted "$name" && ! command -v "$name" >/dev/null; then
			say "missing $name: build it with go install ${source}"
			status=1
		fi
	done < <(rows "$here/go-tools.txt")
	if [[ -n $only ]]; then
		return "$status"
	fi
	while read -r name source; do
		if ! command -v "$name" >/dev/null; then
			say "missing $name: install the package ${source} (as root: apt-get install --no-install-recommends ${source})"
			status=1
		fi
	done < <(rows "$here/apt-tools.txt")
	if ! command -v aws >/dev/null; then
		say "missing aws: install the AWS CLI, see https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
		status=1
	fi
	if ! command -v terraform >/dev/null; then
		say "missing terraform: see https://developer.hashicorp.com/terraform/install"
		status=1
	fi
	return "$status"
}

if ! mkdir -p "$bin" "$stamps"; then
	say "$root cannot be made: set BERTH_TOOLS to a directory that can"
	exit "${BERTH_REQUIRE_ALL:-0}"
fi
# Two runs at once (two shells, or two checkouts) would build the same programs twice.
if command -v flock >/dev/null; then
	exec 9>"$root/lock"
	flock 9
fi

if [[ -z $only ]]; then
	install_packages
fi
install_go_programs
if ! report && [[ ${BERTH_REQUIRE_ALL:-} == 1 ]]; then
	say "BERTH_REQUIRE_ALL=1 is set and something is missing"
	exit 1
fi
