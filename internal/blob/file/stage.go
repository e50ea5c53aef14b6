package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/minio/sio"

	"berth/internal/blob"
)

// staged is one round of writing.
type staged struct {
	store *Store
	stage blob.Stage // as it was before the round
	st    state
	path  string
	cfg   sio.Config
	seal  sealer // nil until there is more than one package
	f     File   // nil as long as seal is
	fresh bool   // the file was made by this round
	size  int64
	tail  []byte // the last package's bytes
	err   error  // of a write; the round is lost
}

// sealer is the writer of [sio.EncryptWriter]. It is never closed by a round,
// since that would make the last package the last one for good.
type sealer io.Writer

// Append implements [blob.Store].
func (s *Store) Append(ctx context.Context, stage blob.Stage) (blob.Staged, error) {
	dir, err := s.dir(stage.Domain, stage.ID)
	if err != nil {
		return nil, err
	}
	w := &staged{store: s, stage: stage, size: stage.Size}
	if stage.State == nil && stage.Size > 0 {
		return nil, fmt.Errorf("stage %s has bytes and no state: %w", stage.ID, blob.ErrNotFound)
	}
	if stage.State == nil {
		if w.st.dataKey, err = s.keys.Sealing(ctx, stage.Domain); err != nil {
			return nil, err
		}
	} else if w.st, err = decodeState(stage); err != nil {
		return nil, err
	}
	w.tail = append(w.tail, w.st.tail...)
	if packages(stage.Size) == 0 {
		return w, w.restart(ctx, dir)
	}
	if err := w.use(ctx, dir, w.st.writing); err != nil {
		return nil, err
	}
	info, err := w.f.Stat()
	if err == nil && info.Size() < sealedSize(payload*packages(stage.Size)) {
		err = fmt.Errorf("staged file %s has %d bytes where %d were acknowledged: %w", w.path, info.Size(), stage.Size, blob.ErrNotFound)
	}
	if err == nil && info.Size() > sealedSize(payload*packages(stage.Size)) {
		err = w.rewrite(ctx, dir)
	}
	if err == nil {
		err = w.resume()
	}
	if err != nil {
		return nil, mapError(errors.Join(err, w.f.Close()))
	}
	return w, nil
}

// restart gives a stage without a package in its file a new writing. What a
// commit that failed may have left of the old one goes.
func (w *staged) restart(ctx context.Context, dir string) error {
	if old := w.st.writing; old != "" {
		if err := w.store.removeIfThere(w.store.part(dir, w.stage.ID, old)); err != nil {
			return err
		}
	}
	return w.name(ctx, dir, newWriting())
}

func (s *Store) part(dir, id, writing string) string {
	return filepath.Join(dir, id+"-"+writing+partSuffix)
}

// name settles which file the round writes, without making it.
func (w *staged) name(ctx context.Context, dir, writing string) (err error) {
	w.st.writing = writing
	w.path = w.store.part(dir, w.stage.ID, writing)
	w.cfg, err = w.store.secret(ctx, w.stage.Domain, w.st.dataKey, w.stage.ID+"-"+writing)
	return err
}

// use opens the file of a writing that has acknowledged packages.
func (w *staged) use(ctx context.Context, dir, writing string) error {
	if err := w.name(ctx, dir, writing); err != nil {
		return err
	}
	var err error
	w.f, err = w.store.fs.OpenFile(w.path, os.O_RDWR, 0o600)
	return mapError(err)
}

// rewrite copies what was acknowledged to a new writing. The old file has
// bytes beyond it, sealed in places where other bytes may come now, and no
// place is sealed twice under one key.
func (w *staged) rewrite(ctx context.Context, dir string) error {
	old, oldCfg := w.f, w.cfg
	n := payload * packages(w.stage.Size)
	from, err := sio.DecryptReader(io.NewSectionReader(old, 0, sealedSize(n)), oldCfg)
	if err != nil {
		return err
	}
	if err := w.name(ctx, dir, newWriting()); err != nil {
		return err
	}
	if w.f, err = w.create(dir); err != nil {
		w.f = old
		return err
	}
	to, err := sio.EncryptWriter(onlyWriter{w.f}, w.cfg)
	if err == nil {
		// The tail makes the sealer give out the package before it.
		_, err = io.Copy(to, io.MultiReader(io.LimitReader(from, n), bytes.NewReader(w.tail)))
	}
	return errors.Join(err, old.Close())
}

// create makes the file of the round.
func (w *staged) create(dir string) (File, error) {
	if err := w.store.ensureDir(dir); err != nil {
		return nil, err
	}
	f, err := w.store.fs.OpenFile(w.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	w.fresh = err == nil
	return f, err
}

// onlyWriter keeps sio from closing the file.
type onlyWriter struct{ io.Writer }

// resume continues the sealed stream after the packages that lie in the file.
func (w *staged) resume() error {
	n := packages(w.size)
	if _, err := w.f.Seek(sealedSize(payload*n), io.SeekStart); err != nil {
		return err
	}
	w.cfg.SequenceNumber = uint32(n) // a layer has fewer than 2^20 packages
	seal, err := sio.EncryptWriter(onlyWriter{w.f}, w.cfg)
	if err != nil {
		return err
	}
	w.seal = seal
	_, err = seal.Write(w.tail)
	return err
}

// Write implements io.Writer. A round in which a write failed is lost.
func (w *staged) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.seal == nil && len(w.tail)+len(p) > payload {
		if w.err = w.begin(); w.err != nil {
			return 0, w.err
		}
	}
	if w.seal != nil {
		if _, err := w.seal.Write(p); err != nil {
			w.err = mapError(err)
			return 0, w.err
		}
	}
	w.size += int64(len(p))
	w.keep(p)
	return len(p), nil
}

// begin makes the file, once there is a package for it.
func (w *staged) begin() error {
	f, err := w.create(filepath.Dir(w.path))
	if err != nil {
		return mapError(err)
	}
	w.f = f
	seal, err := sio.EncryptWriter(onlyWriter{f}, w.cfg)
	if err != nil {
		return err
	}
	w.seal = seal
	_, err = seal.Write(w.tail) // at most a package: nothing reaches the file yet
	return err
}

// keep holds on to the bytes of the last package.
func (w *staged) keep(p []byte) {
	want := int(w.size - payload*packages(w.size))
	if len(p) >= want {
		w.tail = append(w.tail[:0], p[len(p)-want:]...)
		return
	}
	old := want - len(p) // bytes of it that came before p
	copy(w.tail, w.tail[len(w.tail)-old:])
	w.tail = append(w.tail[:old], p...)
}

// Close implements [blob.Staged].
func (w *staged) Close() (blob.Stage, error) {
	err := w.err
	if w.f != nil {
		if err != nil {
			err = errors.Join(err, w.giveBack())
		}
		err = errors.Join(err, mapError(w.f.Close()))
	}
	if err != nil {
		if w.fresh {
			err = errors.Join(err, w.store.removeIfThere(w.path))
		}
		return w.stage, err
	}
	next := w.stage
	next.Size = w.size
	w.st.tail = w.tail
	next.State = w.st.encode()
	return next, nil
}

// giveBack frees what a lost round wrote, which may have filled the disk. One
// byte stays, by which the next round sees that places after the acknowledged
// packages were written once.
func (w *staged) giveBack() error {
	return mapError(w.f.Truncate(sealedSize(payload*packages(w.stage.Size)) + 1))
}

// OpenStaged implements [blob.Store].
func (s *Store) OpenStaged(ctx context.Context, stage blob.Stage) (io.ReadCloser, error) {
	dir, err := s.dir(stage.Domain, stage.ID)
	if err != nil {
		return nil, err
	}
	if stage.State == nil {
		return nil, blob.ErrNotFound
	}
	st, err := decodeState(stage)
	if err != nil {
		return nil, err
	}
	tail := bytes.NewReader(st.tail)
	n := payload * packages(stage.Size)
	if n == 0 {
		return io.NopCloser(tail), nil
	}
	cfg, err := s.secret(ctx, stage.Domain, st.dataKey, stage.ID+"-"+st.writing)
	if err != nil {
		return nil, err
	}
	f, err := s.fs.OpenFile(s.part(dir, stage.ID, st.writing), os.O_RDONLY, 0)
	if err != nil {
		return nil, mapError(err)
	}
	from, err := sio.DecryptReader(io.NewSectionReader(f, 0, sealedSize(n)), cfg)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(from, n), tail), f}, nil
}

// Commit implements [blob.Store].
func (s *Store) Commit(ctx context.Context, stage blob.Stage) (blob.Copy, error) {
	dir, err := s.dir(stage.Domain, stage.ID)
	if err != nil {
		return blob.Copy{}, err
	}
	if stage.State == nil {
		return blob.Copy{}, blob.ErrNotFound
	}
	st, err := decodeState(stage)
	if err != nil {
		return blob.Copy{}, err
	}
	name := stage.ID + "-" + st.writing
	to := filepath.Join(dir, name)
	c := blob.Copy{Domain: stage.Domain, ID: name, DataKey: st.dataKey, Size: stage.Size}
	if err := s.finish(ctx, stage, st, dir); err != nil {
		if errors.Is(err, blob.ErrNotFound) && s.committed(to, stage.Size) {
			return c, mapError(s.syncPath(dir))
		}
		return blob.Copy{}, err
	}
	if err := s.fs.Rename(to+partSuffix, to); err != nil {
		return blob.Copy{}, mapError(err)
	}
	return c, mapError(s.syncPath(dir))
}

// committed reports whether the stage has its final name already.
func (s *Store) committed(path string, size int64) bool {
	f, err := s.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	info, err := f.Stat()
	return errors.Join(err, f.Close()) == nil && info.Size() == sealedSize(size)
}

// finish seals the last package and flushes the file.
func (s *Store) finish(ctx context.Context, stage blob.Stage, st state, dir string) error {
	w := &staged{store: s, stage: stage, st: st, size: stage.Size, tail: st.tail}
	if err := w.openLast(ctx, dir); err != nil {
		return mapError(err)
	}
	err := w.resume()
	if err == nil {
		err = w.f.Truncate(sealedSize(payload * packages(stage.Size)))
	}
	if closer, ok := w.seal.(io.Closer); err == nil && ok {
		err = closer.Close() // seals the last package; the file stays open
	}
	if err != nil {
		return mapError(errors.Join(err, w.f.Close()))
	}
	if err := w.f.Sync(); err != nil {
		// What the disk holds now is anybody's guess, and a second fsync would
		// report success (PostgreSQL's fsyncgate, 2018). So the file goes.
		return errors.Join(mapError(err), w.f.Close(), s.removeIfThere(w.path))
	}
	return mapError(w.f.Close())
}

// openLast opens the file that is to get its last package: it is there when
// other packages are, and made now when there is no other. To make it again
// after it got its final name gives the same bytes.
func (w *staged) openLast(ctx context.Context, dir string) error {
	if n := packages(w.stage.Size); n > 0 {
		if err := w.use(ctx, dir, w.st.writing); err != nil {
			return err
		}
		info, err := w.f.Stat()
		if err == nil && info.Size() < sealedSize(payload*n) {
			err = fmt.Errorf("staged file %s is too short: %w", w.path, blob.ErrNotFound)
		}
		if err != nil {
			return errors.Join(err, w.f.Close())
		}
		return nil
	}
	if err := w.name(ctx, dir, w.st.writing); err != nil {
		return err
	}
	if err := w.store.ensureDir(dir); err != nil {
		return err
	}
	var err error
	w.f, err = w.store.fs.OpenFile(w.path, os.O_CREATE|os.O_RDWR, 0o600)
	return err
}

// Discard implements [blob.Store].
func (s *Store) Discard(_ context.Context, stage blob.Stage) error {
	dir, err := s.dir(stage.Domain, stage.ID)
	if err != nil {
		return err
	}
	if stage.State == nil {
		return nil // nothing was acknowledged; an audit finds what a crash left
	}
	st, err := decodeState(stage)
	if err != nil {
		return err
	}
	p := s.part(dir, stage.ID, st.writing)
	return s.removeIfThere(p)
}
