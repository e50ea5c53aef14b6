#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, for $FUZZTIME each (20s without it).
# go test fuzzes one target of one package at a time, hence the loop. The first failing target ends the run; go test
# has then written the failing input below testdata/fuzz of the package: commit it with the fix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

count=0
while IFS=: read -r file target; do
	printf 'fuzz: %s in %s\n' "$target" "$(dirname "$file")"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" "./$(dirname "$file")"
	count=$((count + 1))
done < <(find . -name '*_test.go' -not -path './.*/*' -print0 |
	xargs -0 grep -HoE '^func Fuzz[A-Za-z0-9_]*' | sed -e 's|^\./||' -e 's/:func /:/' | sort)
printf 'fuzz: %d targets passed\n' "$count"
