// Package advisory decides which packages a vulnerability affects, and how bad
// it is. Its advisories are records of OSV, https://ossf.github.io/osv-schema/.
//
// It is pure: nothing here reads a file, a row or the clock. Versions are
// compared as each ecosystem does, by github.com/google/osv-scalibr/semantic;
// CVSS vectors are scored by github.com/pandatix/go-cvss.
package advisory
