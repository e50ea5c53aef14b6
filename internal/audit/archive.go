package audit

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/blob"
)

// An archive is a directory, or one tar file of the same:
//
//	manifest.json      what there is, with checksums, and its own
//	rows/<table>.jsonl one JSON array a row, in the order of meta.Tables
//	blobs.jsonl        one archived copy a line
//	blobs/<domain>/<2 of the id>/<id>  the copies, sealed as on disk ([file])
//	master.key         only when that was asked for
const archiveFormat = 1

const (
	manifestName  = "manifest.json"
	blobsName     = "blobs.jsonl"
	masterKeyName = "master.key"
)

// A Manifest says what an archive holds.
type Manifest struct {
	Format     int             `json:"format"`
	Schema     int             `json:"schema"` // meta.SchemaVersion of the rows
	CreatedAt  time.Time       `json:"createdAt"`
	Tables     []ArchivedTable `json:"tables"`
	Blobs      int             `json:"blobs"`
	Bytes      int64           `json:"bytes"`         // of the copies, as they are sealed
	BlobSum    string          `json:"blobsChecksum"` // SHA-256 of blobs.jsonl
	Missing    int             `json:"missing"`       // blobs whose bytes were gone or damaged; their rows say so
	MasterKeys []string        `json:"masterKeys"`    // ids of the master keys that the rows may need
	KeySum     string          `json:"masterKeySum"`  // SHA-256 of master.key; empty: it is not in the archive
	Checksum   string          `json:"checksum"`      // SHA-256 of this file with an empty checksum
}

// An ArchivedTable is one file of rows.
type ArchivedTable struct {
	Name     string   `json:"name"`
	Columns  []string `json:"columns"`
	Rows     int      `json:"rows"`
	Checksum string   `json:"checksum"`
}

// archivedBlob is one line of blobs.jsonl.
type archivedBlob struct {
	Domain string `json:"domain"`
	ID     string `json:"id"`
	// Location is what the row calls the copy, when that is not the ID: it was
	// sealed for the archive.
	Location string `json:"location,omitempty"`
	DataKey  int64  `json:"dataKey"`
	Size     int64  `json:"size"`
	// Packed and Cold are of copies that were moved because only archived images
	// list them; one that was sealed for the archive is as it was pushed.
	Packed   int64  `json:"packed,omitempty"`
	Cold     bool   `json:"cold,omitempty"`
	Stored   int64  `json:"stored"` // bytes in the archive
	Checksum string `json:"checksum"`
}

func (b archivedBlob) copy() blob.Copy {
	return blob.Copy{Domain: b.Domain, ID: b.ID, DataKey: b.DataKey, Size: b.Size, Packed: b.Packed, Cold: b.Cold}
}

func (b archivedBlob) path() string {
	return "blobs/" + b.Domain + "/" + (b.ID + "__")[:2] + "/" + b.ID
}

// location is what the row calls the copy.
func (b archivedBlob) location() string { return cmp.Or(b.Location, b.ID) }

func rowsName(table string) string { return "rows/" + table + ".jsonl" }

func (m Manifest) sum() (string, error) {
	m.Checksum = ""
	b, err := json.Marshal(m)
	return sumOf(b), err
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// A sink takes the files of an archive.
type sink interface {
	// create begins a file; the one before is closed.
	create(name string, size int64) (io.WriteCloser, error)
	// link takes a file that never changes, if it can without a copy.
	link(name, path string) bool
	// finish makes the archive durable under its name.
	finish() error
	// discard removes what there is.
	discard() error
}

// newSink makes an archive at a place where nothing is yet.
func newSink(dest string) (sink, error) {
	if _, err := os.Lstat(dest); err == nil {
		return nil, fmt.Errorf("%s exists: choose another place for the backup", dest)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	partial := dest + ".partial"
	if strings.HasSuffix(dest, ".tar") {
		f, err := os.OpenFile(partial, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, leftover(err, partial)
		}
		return &tarSink{dest: dest, f: f, w: tar.NewWriter(f)}, nil
	}
	if err := os.Mkdir(partial, 0o700); err != nil {
		return nil, leftover(err, partial)
	}
	return &dirSink{dest: dest, root: partial, dirs: map[string]bool{partial: true}}, nil
}

func leftover(err error, partial string) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is left of a backup that did not end: remove it", partial)
	}
	return err
}

// dirSink writes a directory, under another name until it is whole.
type dirSink struct {
	dest, root string
	dirs       map[string]bool
}

func (d *dirSink) path(name string) (string, error) {
	p := filepath.Join(d.root, filepath.FromSlash(name))
	for dir := filepath.Dir(p); !d.dirs[dir]; dir = filepath.Dir(dir) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		d.dirs[dir] = true
	}
	return p, nil
}

func (d *dirSink) create(name string, _ int64) (io.WriteCloser, error) {
	p, err := d.path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return syncedFile{f}, nil
}

// syncedFile is durable when it is closed.
type syncedFile struct{ *os.File }

func (f syncedFile) Close() error { return errors.Join(f.Sync(), f.File.Close()) }

func (d *dirSink) link(name, path string) bool {
	if path == "" {
		return false
	}
	p, err := d.path(name)
	return err == nil && os.Link(path, p) == nil
}

func (d *dirSink) finish() error {
	for dir := range d.dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	if err := os.Rename(d.root, d.dest); err != nil {
		return err
	}
	return syncDir(filepath.Dir(d.dest))
}

func (d *dirSink) discard() error { return os.RemoveAll(d.root) }

// tarSink writes one tar file.
type tarSink struct {
	dest string
	f    *os.File
	w    *tar.Writer
}

// tarFile is an entry, whose size was said before.
type tarFile struct {
	w    *tar.Writer
	left int64
}

func (f *tarFile) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.left -= int64(n)
	return n, err
}

// Close fills up an entry that was given up, so that others can follow it.
func (f *tarFile) Close() error {
	zeros := make([]byte, 64<<10)
	for f.left > 0 {
		if _, err := f.Write(zeros[:min(f.left, int64(len(zeros)))]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tarSink) create(name string, size int64) (io.WriteCloser, error) {
	err := t.w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, Typeflag: tar.TypeReg, Format: tar.FormatPAX})
	return &tarFile{t.w, size}, err
}

func (t *tarSink) link(string, string) bool { return false }

func (t *tarSink) finish() error {
	err := errors.Join(t.w.Close(), t.f.Sync(), t.f.Close())
	if err == nil {
		err = os.Rename(t.f.Name(), t.dest)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(t.dest))
}

func (t *tarSink) discard() error { return errors.Join(t.f.Close(), os.Remove(t.f.Name())) }

// put writes a small file.
func put(s sink, name string, b []byte) error {
	w, err := s.create(name, int64(len(b)))
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return errors.Join(err, w.Close())
}

// An Archive is one that was opened and checked.
type Archive struct {
	Manifest Manifest
	root     string
	scratch  string // removed with the archive; empty: none
}

// OpenArchive opens a backup and compares everything in it with its
// checksums. A tar file is unpacked below scratch.
func OpenArchive(ctx context.Context, src, scratch string) (_ *Archive, err error) {
	a := &Archive{root: src}
	info, err := os.Stat(src)
	if err != nil {
		return nil, fmt.Errorf("open the backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("the backup %s is not whole: %w", src, err), a.Close())
		}
	}()
	if !info.IsDir() {
		if a.scratch, err = os.MkdirTemp(scratch, ".restore-"); err != nil {
			return nil, err
		}
		a.root = a.scratch
		if err := untar(ctx, src, a.root); err != nil {
			return nil, err
		}
	}
	return a, a.verify(ctx)
}

// Close removes what was unpacked.
func (a *Archive) Close() error {
	if a.scratch == "" {
		return nil
	}
	return os.RemoveAll(a.scratch)
}

func untar(ctx context.Context, src, to string) (err error) {
	f, err := os.Open(src)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for r := tar.NewReader(bufio.NewReaderSize(f, 1<<20)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.FromSlash(h.Name)
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(name) {
			return fmt.Errorf("it has an entry %q that no backup has", h.Name)
		}
		p := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			return err
		}
		out, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, cancellable{ctx, r})
		if err = errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}

func (a *Archive) open(name string) (*os.File, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, fmt.Errorf("%q is no name of a file in a backup", name)
	}
	return os.Open(filepath.Join(a.root, filepath.FromSlash(name)))
}

// maxManifest bounds manifest.json, which has some kilobytes.
const maxManifest = 1 << 20

func (a *Archive) verify(ctx context.Context) error {
	f, err := a.open(manifestName)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &a.Manifest); err != nil {
		return fmt.Errorf("%s: %w", manifestName, err)
	}
	m := a.Manifest
	if m.Format != archiveFormat {
		return fmt.Errorf("its format is %d and this program knows %d: use the program that made it", m.Format, archiveFormat)
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields() // a member with a damaged name must not pass for one that is zero
	if err := strict.Decode(new(Manifest)); err != nil {
		return fmt.Errorf("%s was altered: %w", manifestName, err)
	}
	if sum, err := m.sum(); err != nil || sum != m.Checksum {
		return errors.Join(fmt.Errorf("%s was altered", manifestName), err)
	}
	for _, t := range m.Tables {
		if err := a.sums(ctx, rowsName(t.Name), -1, t.Checksum); err != nil {
			return err
		}
	}
	if m.KeySum != "" {
		if err := a.sums(ctx, masterKeyName, -1, m.KeySum); err != nil {
			return err
		}
	}
	if err := a.sums(ctx, blobsName, -1, m.BlobSum); err != nil {
		return err
	}
	n := 0
	err = a.blobs(func(b archivedBlob) error {
		n++
		return a.sums(ctx, b.path(), b.Stored, b.Checksum)
	})
	if err == nil && n != m.Blobs {
		err = fmt.Errorf("%s has %d lines, not %d", blobsName, n, m.Blobs)
	}
	return err
}

// sums compares a file with its checksum.
func (a *Archive) sums(ctx context.Context, name string, size int64, want string) error {
	f, err := a.open(name)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(h, cancellable{ctx, f})
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if (size >= 0 && n != size) || hexOf(h) != want {
		return fmt.Errorf("%s was altered or cut", name)
	}
	return nil
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func (a *Archive) blobs(fn func(archivedBlob) error) error {
	return a.lines(blobsName, func(line []byte) error {
		var b archivedBlob
		d := json.NewDecoder(bytes.NewReader(line))
		if err := d.Decode(&b); err != nil {
			return fmt.Errorf("%s: %w", blobsName, err)
		}
		return fn(b)
	})
}

// lines calls fn with each line of a file; it must not keep them.
func (a *Archive) lines(name string, fn func([]byte) error) (err error) {
	f, err := a.open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := bufio.NewScanner(f)
	in.Buffer(make([]byte, 64<<10), 64<<20) // a manifest has 4 MiB at most, before base64
	for in.Scan() {
		if err := fn(in.Bytes()); err != nil {
			return err
		}
	}
	return in.Err()
}
