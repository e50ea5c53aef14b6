package inventory

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/os/osrelease"
)

// finish looks into the files that were held for the whole tree, and puts
// everything in order.
func (r *reading) finish() (Inventory, error) {
	for _, name := range slices.Sorted(maps.Keys(r.tree.files)) {
		f := r.tree.files[name]
		for _, e := range f.extractors {
			if err := r.extract(e, name, f); err != nil {
				return Inventory{}, err
			}
		}
	}
	release := r.release()
	out := Inventory{Platform: platform(release), Warnings: r.warnings, Packages: []Package{}}
	seen := map[Package]bool{}
	for _, name := range slices.Sorted(maps.Keys(r.found)) {
		for _, p := range r.found[name] {
			p.Ecosystem = withRelease(p.Ecosystem, release)
			if !seen[p] {
				seen[p] = true
				out.Packages = append(out.Packages, p)
			}
		}
	}
	return out, nil
}

// release reads os-release(5) of the image; nil when it has none.
func (r *reading) release() map[string]string {
	m, err := osrelease.GetOSRelease(r.tree)
	if err != nil {
		return nil
	}
	return m
}

// platform is the distribution as Inspector names it: "DEBIAN_12".
func platform(release map[string]string) string {
	id, version := release["ID"], release["VERSION_ID"]
	if id == "" {
		return ""
	}
	out := id
	if version != "" {
		out += "_" + version
	}
	return strings.ToUpper(strings.NewReplacer(".", "_", "-", "_", " ", "_").Replace(out))
}

// withRelease adds the release to ecosystems whose advisories name it and whose
// packages do not: OSV has "Rocky Linux:9" and "Red Hat:enterprise_linux:9::…".
func withRelease(ecosystem string, release map[string]string) string {
	major, _, _ := strings.Cut(release["VERSION_ID"], ".")
	switch {
	case major == "":
		return ecosystem
	case ecosystem == "Rocky Linux":
		return ecosystem + ":" + major
	case ecosystem == "Red Hat":
		return ecosystem + ":enterprise_linux:" + major
	}
	return ecosystem
}

// extract runs one extractor on one file. A package database that cannot be
// read is an error: its packages would be missing without a word. Any other
// file is a warning.
func (r *reading) extract(e filesystem.Extractor, name string, f *file) (err error) {
	packages, err := r.run(e, name, f)
	if err != nil {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if isDatabase(e) {
			return fmt.Errorf("the package database %s cannot be read: %w", name, err)
		}
		r.warn("%s cannot be read: %v", name, err)
	}
	for _, p := range packages {
		if p, ok := describe(e, p); ok {
			if p.Path == "" {
				p.Path = name
			}
			p.Layer = f.layer
			r.found[name] = append(r.found[name], p)
		}
	}
	return nil
}

// run calls the extractor, which may panic on what it does not expect.
func (r *reading) run(e filesystem.Extractor, name string, f *file) (packages []*extractor.Package, err error) {
	defer func() {
		if p := recover(); p != nil {
			packages, err = nil, fmt.Errorf("the extractor %s failed: %v", e.Name(), p)
		}
	}()
	found, err := e.Extract(r.ctx, &filesystem.ScanInput{
		FS: r.tree, Path: name, Info: f.info, Reader: &openFile{Reader: bytes.NewReader(f.data), info: f.info},
	})
	return found.Packages, err
}

// isDescription reports whether a file says which distribution an image is.
func isDescription(name string) bool {
	return path.Base(name) == "os-release" && (path.Dir(name) == "etc" || path.Dir(name) == "usr/lib")
}

// isBinary reports whether the first bytes are those of a program or an
// archive: ELF, PE, Mach-O (in both orders and universal) or ZIP.
func isBinary(head []byte) bool {
	for _, magic := range []string{"\x7fELF", "MZ", "\xfe\xed\xfa", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xca\xfe\xba\xbe", "PK\x03\x04"} {
		if strings.HasPrefix(string(head), magic) {
			return true
		}
	}
	return false
}
