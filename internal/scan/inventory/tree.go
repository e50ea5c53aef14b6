package inventory

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem"
)

// A file of the image whose bytes are held.
type file struct {
	info       fs.FileInfo
	data       []byte
	layer      string
	extractors []filesystem.Extractor // that want it
}

// A tree is the part of an image's file system that is held. It is the
// [scalibr file system] that extractors see.
type tree struct {
	files map[string]*file
	links map[string]string // symbolic links and where they lead
	held  int64             // bytes
}

func newTree() *tree { return &tree{files: map[string]*file{}, links: map[string]string{}} }

func (t *tree) add(name string, f *file) {
	t.files[name] = f
	t.held += int64(len(f.data))
}

func (t *tree) addLink(name, target string) { t.links[name] = target }

// alias makes a hard link to a file of the same layer, if that is held. The
// package databases are not looked into twice.
func (t *tree) alias(name, target string) {
	if f, ok := t.files[target]; ok {
		t.files[name] = &file{info: f.info, data: f.data, layer: f.layer}
	}
}

func (t *tree) remove(name string) {
	if f, ok := t.files[name]; ok {
		t.held -= int64(len(f.data))
		delete(t.files, name)
	}
	delete(t.links, name)
}

// maxLinks is how many symbolic links a path may pass, as in Linux (path_resolution(7)).
const maxLinks = 40

// resolve follows the symbolic links in a path within the image.
func (t *tree) resolve(name string) (string, bool) {
	done, rest := "", name
	for hops := 0; ; {
		if _, ok := t.files[path.Join(done, rest)]; ok {
			return path.Join(done, rest), true
		}
		if rest == "" {
			return done, true
		}
		part, after, _ := strings.Cut(rest, "/")
		at := path.Join(done, part)
		target, ok := t.links[at]
		if !ok {
			done, rest = at, after
			continue
		}
		if hops++; hops > maxLinks {
			return "", false
		}
		if !strings.HasPrefix(target, "/") {
			target = path.Join(done, target)
		}
		target = path.Clean("/" + target)[1:] // never above the root
		done, rest = "", path.Join(target, after)
	}
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open opens a file, or a directory of files that are held.
func (t *tree) Open(name string) (fs.File, error) {
	at, ok := t.resolve(strings.TrimPrefix(path.Clean("/"+name), "/"))
	if !ok {
		return nil, pathError("open", name, fs.ErrInvalid)
	}
	if f, ok := t.files[at]; ok {
		return &openFile{Reader: bytes.NewReader(f.data), info: f.info}, nil
	}
	if t.isDir(at) {
		return &openFile{Reader: bytes.NewReader(nil), info: dirInfo{path.Base("/" + at)}}, nil
	}
	return nil, pathError("open", name, fs.ErrNotExist)
}

// Stat describes what Open opens.
func (t *tree) Stat(name string) (fs.FileInfo, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	return f.Stat()
}

// ReadDir lists the files and directories that are held.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	at, ok := t.resolve(strings.TrimPrefix(path.Clean("/"+name), "/"))
	if !ok || !t.isDir(at) {
		return nil, pathError("readdir", name, fs.ErrNotExist)
	}
	found := map[string]fs.DirEntry{}
	for p, f := range t.files {
		rest, ok := below(p, at)
		if !ok {
			continue
		}
		if child, _, deeper := strings.Cut(rest, "/"); deeper {
			found[child] = fs.FileInfoToDirEntry(dirInfo{child})
		} else {
			found[child] = fs.FileInfoToDirEntry(f.info)
		}
	}
	out := make([]fs.DirEntry, 0, len(found))
	for _, e := range found {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

func (t *tree) isDir(name string) bool {
	if name == "" {
		return true
	}
	for p := range t.files {
		if _, ok := below(p, name); ok {
			return true
		}
	}
	for p := range t.links {
		if _, ok := below(p, name); ok {
			return true
		}
	}
	return false
}

// below is the path of p from a directory, if p lies in it.
func below(p, dir string) (string, bool) {
	if dir == "" {
		return p, true
	}
	return strings.CutPrefix(p, dir+"/")
}

// An openFile is a file that is read; also at offsets, as extractors need it.
type openFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

var _ io.ReaderAt = (*openFile)(nil)
