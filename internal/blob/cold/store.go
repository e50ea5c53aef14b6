package cold

import (
	"context"
	"fmt"
	"io"

	"berth/internal/blob"
)

// Store is a [blob.Store] over a main store, which pushes and pulls use, and
// possibly a second one. It is a [blob.Lister] and a [blob.Checker] as its
// stores are; what else one of them can do is asked of the store that [Route] gives.
type Store struct {
	Main   blob.Store
	Second blob.Store // nil: there is none
}

// New makes a store of a main store and possibly a second one.
func New(main, second blob.Store) *Store { return &Store{main, second} }

// Route gives the store that holds a copy, and the copy as that store knows it.
func Route(s blob.Store, c blob.Copy) (blob.Store, blob.Copy) {
	both, ok := s.(*Store)
	if ok {
		if s = both.Main; c.Cold {
			s = both.Second
		}
		if s == nil {
			s = absent{}
		}
	}
	if c.Packed > 0 {
		c.Size = c.Packed
	}
	c.Packed, c.Cold = 0, false
	return s, c
}

// HasSecond tells whether there is a second store.
func HasSecond(s blob.Store) bool {
	both, ok := s.(*Store)
	return ok && both.Second != nil
}

// Append implements [blob.Store].
func (s *Store) Append(ctx context.Context, st blob.Stage) (blob.Staged, error) {
	return s.Main.Append(ctx, st)
}

// OpenStaged implements [blob.Store].
func (s *Store) OpenStaged(ctx context.Context, st blob.Stage) (io.ReadCloser, error) {
	return s.Main.OpenStaged(ctx, st)
}

// Commit implements [blob.Store].
func (s *Store) Commit(ctx context.Context, st blob.Stage) (blob.Copy, error) {
	return s.Main.Commit(ctx, st)
}

// Discard implements [blob.Store].
func (s *Store) Discard(ctx context.Context, st blob.Stage) error { return s.Main.Discard(ctx, st) }

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, c blob.Copy) (blob.Reader, error) {
	in, raw := Route(s, c)
	r, err := in.Open(ctx, raw)
	if err != nil || c.Packed == 0 {
		return r, err
	}
	return &unpacker{raw: r, size: c.Size}, nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, c blob.Copy) error {
	in, raw := Route(s, c)
	return in.Delete(ctx, raw)
}

// Check implements [blob.Checker] for the main store. A server without its
// second store still serves what is not archived.
func (s *Store) Check(ctx context.Context) error {
	if c, ok := s.Main.(blob.Checker); ok {
		return c.Check(ctx)
	}
	return nil
}

// List implements [blob.Lister] for both stores.
func (s *Store) List(ctx context.Context, fn func(blob.Object) error) error {
	if err := list(ctx, s.Main, fn); err != nil || s.Second == nil {
		return err
	}
	return list(ctx, s.Second, func(o blob.Object) error {
		o.Cold = true
		return fn(o)
	})
}

func list(ctx context.Context, s blob.Store, fn func(blob.Object) error) error {
	if l, ok := s.(blob.Lister); ok {
		return l.List(ctx, fn)
	}
	return nil
}

// Remove implements [blob.Lister].
func (s *Store) Remove(ctx context.Context, o blob.Object) error {
	in, _ := Route(s, blob.Copy{Cold: o.Cold})
	l, ok := in.(blob.Lister)
	if !ok {
		return fmt.Errorf("remove %s: %w", o.ID, errAbsent)
	}
	o.Cold = false
	return l.Remove(ctx, o)
}

var errAbsent = fmt.Errorf("%w: the copy lies in the second store, and none is given (--archive-blobs)", blob.ErrUnavailable)

// absent is a second store that is not there.
type absent struct{}

func (absent) Append(context.Context, blob.Stage) (blob.Staged, error)       { return nil, errAbsent }
func (absent) OpenStaged(context.Context, blob.Stage) (io.ReadCloser, error) { return nil, errAbsent }
func (absent) Commit(context.Context, blob.Stage) (blob.Copy, error)         { return blob.Copy{}, errAbsent }
func (absent) Discard(context.Context, blob.Stage) error                     { return errAbsent }
func (absent) Open(context.Context, blob.Copy) (blob.Reader, error)          { return nil, errAbsent }
func (absent) Delete(context.Context, blob.Copy) error                       { return errAbsent }
