package inventory

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem"
)

// A Package is one that is installed in an image.
type Package struct {
	Ecosystem string `json:"ecosystem"` // of OSV, with the release: "Debian:12", "npm"
	Name      string `json:"name"`      // by which advisories of the ecosystem know it: that of the source package, for some
	Version   string `json:"version"`   // that is compared
	// Installed is the name under which it is installed, where it is another.
	Installed string `json:"installed,omitempty"`
	Arch      string `json:"arch,omitempty"`
	Manager   string `json:"manager"` // packageManager of the ECR API: "OS", "NODEPKG", "JAR"…
	Path      string `json:"path"`    // of the file that says so
	Layer     string `json:"layer"`   // digest of the layer that has this file
	PURL      string `json:"purl,omitempty"`
}

// IsOS reports whether a package is one of a distribution.
func (p Package) IsOS() bool { return p.Manager == managerOS }

// An Inventory is what is installed in an image.
type Inventory struct {
	Platform string    `json:"platform,omitempty"` // "DEBIAN_12"; empty when no distribution is known
	Packages []Package `json:"packages"`
	// Warnings say what could not be read and does not make the rest wrong.
	Warnings []string `json:"warnings,omitempty"`
}

// A Layer is a file system changeset.
type Layer struct {
	Digest string
	Bytes  io.Reader // a tar archive, plain or compressed by gzip or zstd
}

// Limits bound what an image may take.
type Limits struct {
	Entries  int   // of all layers
	Unpacked int64 // bytes of all layers, unpacked
	File     int64 // bytes of a file that is looked into; larger ones are left out, with a warning
	Held     int64 // bytes of files held at the same time
}

// DefaultLimits are wide enough for the images that people make.
var DefaultLimits = Limits{Entries: 2_000_000, Unpacked: 40 << 30, File: 256 << 20, Held: 384 << 20}

// A LimitError says which limit an image exceeds.
type LimitError struct{ What string }

func (e *LimitError) Error() string { return e.What }

// What an entry of a layer hides in those below it.
const (
	hidesEntry   = 1 << iota // the entry of the same name
	hidesSubtree             // everything below that name
)

// A reading is the work on one image.
type reading struct {
	ctx        context.Context
	limits     Limits
	extractors []filesystem.Extractor
	hidden     map[string]uint8 // by the layers above
	here       map[string]uint8 // by the current layer
	tree       *tree
	entries    int
	unpacked   int64
	found      map[string][]Package // by the path of the file
	warnings   []string
}

// Read finds the packages of an image. next gives its layers, the topmost
// first, and io.EOF after the base.
func Read(ctx context.Context, next func() (Layer, error), limits Limits) (Inventory, error) {
	all, err := extractors()
	if err != nil {
		return Inventory{}, err
	}
	r := &reading{
		ctx: ctx, limits: limits, extractors: all, hidden: map[string]uint8{}, tree: newTree(), found: map[string][]Package{},
	}
	for n := 1; ; n++ {
		layer, err := next()
		if errors.Is(err, io.EOF) {
			return r.finish()
		}
		if err != nil {
			return Inventory{}, err
		}
		if err := r.layer(layer); err != nil {
			return Inventory{}, fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
	}
}

// layer reads one layer and then hides what it replaces from those below.
func (r *reading) layer(l Layer) error {
	r.here = map[string]uint8{}
	body, closeBody, err := decompress(l.Bytes)
	if err != nil {
		return err
	}
	defer closeBody()
	counted := &counter{r: body, left: &r.unpacked, limit: r.limits.Unpacked}
	archive := tar.NewReader(counted)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unreadable(err)
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if r.entries++; r.entries > r.limits.Entries {
			return &LimitError{fmt.Sprintf("the layers have more than %d entries", r.limits.Entries)}
		}
		if err := r.entry(l, header, archive); err != nil {
			return err
		}
	}
	// What comes after the archive is padding; reading it checks that the
	// compressed stream is whole.
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return unreadable(err)
	}
	for name, flags := range r.here {
		r.hidden[name] |= flags
	}
	return nil
}

// unreadable says that the bytes of a layer are no archive.
func unreadable(err error) error {
	var limit *LimitError
	if errors.As(err, &limit) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("the layer is no whole tar archive: %w", err)
}

// Names of whiteouts (OCI image-spec, layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."
	opaqueMarker   = ".wh..wh..opq"
)

// entry looks at one entry of a layer.
func (r *reading) entry(l Layer, header *tar.Header, body io.Reader) error {
	name, ok := cleanPath(header.Name)
	if !ok {
		return nil // it would lie outside the image
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	switch {
	case base == opaqueMarker:
		r.here[dir] |= hidesSubtree
		return nil
	case strings.HasPrefix(base, whiteoutMeta):
		return nil
	case strings.HasPrefix(base, whiteoutPrefix):
		r.here[path.Join(dir, strings.TrimPrefix(base, whiteoutPrefix))] |= hidesEntry | hidesSubtree
		return nil
	case r.covered(name):
		return nil
	}
	flags := uint8(hidesEntry)
	if header.Typeflag != tar.TypeDir {
		flags |= hidesSubtree
	}
	r.here[name] |= flags
	switch header.Typeflag {
	case tar.TypeReg:
		return r.file(l, name, header.FileInfo(), body)
	case tar.TypeSymlink:
		r.replace(name)
		r.tree.addLink(name, header.Linkname)
	case tar.TypeLink:
		r.replace(name)
		if target, ok := cleanPath(header.Linkname); ok {
			r.tree.alias(name, target)
		}
	case tar.TypeDir:
	default:
		r.replace(name)
	}
	return nil
}

// replace forgets what an earlier entry of the same layer said about a path.
func (r *reading) replace(name string) {
	delete(r.found, name)
	r.tree.remove(name)
}

// covered reports whether the layers above hide a path.
func (r *reading) covered(name string) bool {
	if r.hidden[name]&hidesEntry != 0 || r.hidden[""]&hidesSubtree != 0 {
		return true
	}
	for i := len(name) - 1; i > 0; i-- {
		if name[i] == '/' && r.hidden[name[:i]]&hidesSubtree != 0 {
			return true
		}
	}
	return false
}

// cleanPath is the path of an entry from the root of the image, without a
// leading slash; not ok when it is the root or climbs out of it.
func cleanPath(name string) (string, bool) {
	name = path.Clean(strings.TrimLeft(name, "/"))
	if name == "." || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
		return "", false
	}
	return name, true
}

// fileAPI is how an extractor asks about a file.
type fileAPI struct {
	name string
	info fs.FileInfo
}

func (f fileAPI) Path() string               { return f.name }
func (f fileAPI) Stat() (fs.FileInfo, error) { return f.info, nil }

// file holds a file that an extractor wants. Those that need nothing but the
// file itself, programs and archives, are looked into at once and let go.
func (r *reading) file(l Layer, name string, info fs.FileInfo, body io.Reader) error {
	r.replace(name)
	var now, later []filesystem.Extractor
	for _, e := range r.extractors {
		switch {
		case !e.FileRequired(fileAPI{name, info}):
		case standsAlone(e):
			now = append(now, e)
		default:
			later = append(later, e)
		}
	}
	keep := len(later) > 0 || isDescription(name)
	if len(now) == 0 && !keep {
		return nil
	}
	var head [4]byte
	n, err := io.ReadFull(body, head[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return unreadable(err)
	}
	if !keep && !isBinary(head[:n]) {
		return nil
	}
	if info.Size() > r.limits.File {
		if slices.ContainsFunc(later, isDatabase) {
			return &LimitError{fmt.Sprintf("the package database %s is larger than %d bytes", name, r.limits.File)}
		}
		r.warn("%s is left out: it is larger than %d bytes", name, r.limits.File)
		return nil
	}
	if r.tree.held+info.Size() > r.limits.Held {
		return &LimitError{fmt.Sprintf("the files in which packages may be found are larger than %d bytes together", r.limits.Held)}
	}
	data := make([]byte, info.Size())
	copy(data, head[:n])
	if _, err := io.ReadFull(body, data[n:]); err != nil {
		return unreadable(err)
	}
	f := &file{info: info, data: data, layer: l.Digest}
	for _, e := range now {
		if err := r.extract(e, name, f); err != nil {
			return err
		}
	}
	if keep {
		f.extractors = later
		r.tree.add(name, f)
	}
	return nil
}

// warn keeps a warning; there are not more of them than people read.
func (r *reading) warn(format string, args ...any) {
	const most = 50
	if len(r.warnings) < most {
		r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
	}
}

// counter bounds what all layers unpack to.
type counter struct {
	r     io.Reader
	left  *int64
	limit int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if *c.left += int64(n); *c.left > c.limit {
		return n, &LimitError{fmt.Sprintf("the layers unpack to more than %d bytes", c.limit)}
	}
	return n, err
}
