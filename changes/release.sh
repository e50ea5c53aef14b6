#!/usr/bin/env bash
# Moves the fragments in changes/unreleased into CHANGELOG.md as one release. Usage: changes/release.sh vX.Y.Z
# It changes files and commits nothing. A fragment of an unknown kind or without text stops it before it writes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
	printf 'changelog: %s\n' "$*" >&2
	exit 1
}

version=${1:-}
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || fail "the version '$version' is not of the form vX.Y.Z: run make changelog VERSION=v1.2.3"
grep -qxF '<!-- releases -->' CHANGELOG.md || fail "CHANGELOG.md has lost the line <!-- releases -->, after which releases go"
! grep -qF "## $version " CHANGELOG.md || fail "CHANGELOG.md has a release $version already"

shopt -s nullglob
fragments=(changes/unreleased/*.md)
((${#fragments[@]} > 0)) || fail "there is no fragment in changes/unreleased"

kinds='Security Added Changed Fixed Removed'
for fragment in "${fragments[@]}"; do
	kind=$(grep -v '^#' "$fragment" | head -n 1)
	[[ -n $kind && " $kinds " == *" $kind "* ]] || fail "$fragment begins with '$kind', and the kinds are: $kinds"
	grep -v '^#' "$fragment" | tail -n +2 | grep -q '[^[:space:]]' || fail "$fragment has no text"
done

release=$(mktemp)
trap 'rm -f "$release"' EXIT
{
	printf '\n## %s (%s)\n' "$version" "$(date -u +%Y-%m-%d)"
	for kind in $kinds; do
		heading=
		for fragment in "${fragments[@]}"; do
			[[ $(grep -v '^#' "$fragment" | head -n 1) == "$kind" ]] || continue
			[[ -n $heading ]] || printf '\n### %s\n\n' "$kind"
			heading=done
			# One list item: the first line gets the dash, the others are indented below it.
			grep -v '^#' "$fragment" | tail -n +2 | sed -e '/^[[:space:]]*$/d' | sed -e '1s/^/- /' -e '2,$s/^/  /'
		done
	done
} >"$release"

changelog=$(mktemp)
trap 'rm -f "$release" "$changelog"' EXIT
sed "/^<!-- releases -->\$/r $release" CHANGELOG.md >"$changelog"
cat "$changelog" >CHANGELOG.md
rm -- "${fragments[@]}"
printf 'changelog: %d changes are now in CHANGELOG.md under %s\n' "${#fragments[@]}" "$version"
