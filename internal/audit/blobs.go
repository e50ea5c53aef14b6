package audit

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/blob/cold"
	"berth/internal/meta"
	"berth/internal/seal"
	"berth/internal/upload"
)

// open reads the bytes of a row.
func (a *Auditor) open(ctx context.Context, b meta.Blob) (blob.Reader, error) {
	if !upload.IsSmall(b) {
		return a.Blobs.Open(ctx, upload.CopyOf(b))
	}
	r, err := upload.OpenSmall(ctx, a.Ring, b)
	if errors.Is(err, seal.ErrAltered) {
		err = fmt.Errorf("%w: %w", blob.ErrDamaged, err)
	}
	return r, err
}

// errMismatch says that bytes have another digest than their row.
var errMismatch = cold.ErrMismatch

// read opens a copy and, when it is asked to, reads it whole through wrap.
func (a *Auditor) read(ctx context.Context, b meta.Blob, whole bool, wrap func(io.Reader) io.Reader) (err error) {
	r, err := a.open(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if r.Size() != b.Size {
		return fmt.Errorf("%w: %d bytes where the row says %d", blob.ErrDamaged, r.Size(), b.Size)
	}
	if !whole {
		return nil
	}
	d := digest.Digest(b.Digest)
	if err := d.Validate(); err != nil {
		return fmt.Errorf("the digest of the blob row %d: %w", b.ID, err)
	}
	from := wrap(cancellable{ctx, r})
	verifier := d.Verifier()
	n, err := io.CopyBuffer(verifier, from, make([]byte, 256<<10))
	switch {
	case err != nil:
		return err
	case n != b.Size:
		return fmt.Errorf("%w: it ends at byte %d of %d", blob.ErrDamaged, n, b.Size)
	case !verifier.Verified():
		return errMismatch
	}
	return nil
}

func plain(r io.Reader) io.Reader { return r }

// cancellable ends a long copy with its context.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// isWrong tells bytes that are wrong from bytes that could not be looked at.
func isWrong(err error) bool {
	return errors.Is(err, blob.ErrDamaged) || errors.Is(err, blob.ErrNotFound)
}

// same tells whether a row still has the copy that was looked at: a copy that
// was replaced or collected meanwhile is missing by right.
func (a *Auditor) same(ctx context.Context, b meta.Blob) (same bool, err error) {
	err = a.DB.View(ctx, func(tx *meta.Tx) error {
		now, err := tx.BlobByID(b.ID)
		same = err == nil && now.Location == b.Location
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		return err
	})
	return same, err
}

func (a *Auditor) mark(ctx context.Context, b meta.Blob, damaged bool) error {
	return a.DB.Update(ctx, func(tx *meta.Tx) error { return tx.MarkVerified(b, a.Now(), damaged) })
}

func (c *check) blobs(ctx context.Context, done func(int)) error {
	var after int64
	return pages(ctx, c.DB, func(tx *meta.Tx) ([]meta.Blob, error) { return tx.Blobs(after, pageSize) }, func(b meta.Blob) error {
		after = b.ID
		return c.blob(ctx, b)
	}, done)
}

func (c *check) blob(ctx context.Context, b meta.Blob) error {
	c.Blobs++
	c.Bytes += b.Size
	if c.closed[b.DataKey] {
		c.Unread++
		return nil
	}
	err := c.read(ctx, b, c.Deep, plain)
	switch {
	case err == nil && !b.Damaged:
		return nil
	case err == nil && !c.Deep:
		c.add(blobFinding(b, DamagedBlob, "it was found damaged earlier and waits to be pushed again"))
		return nil
	case err == nil:
		f := blobFinding(b, DamagedBlob, "it was found damaged earlier, and reads right now")
		if c.Repair {
			f.Settled, f.Action = true, "marked as whole"
			err = c.mark(ctx, b, false)
		}
		c.add(f)
		return err
	case !isWrong(err):
		if same, serr := c.same(ctx, b); serr == nil && !same {
			return nil // its key may have been retired with it
		}
		return fmt.Errorf("read the blob %s: %w", b.Digest, err)
	}
	return c.wrong(ctx, b, err)
}

// wrong reports a blob that cannot be served.
func (c *check) wrong(ctx context.Context, b meta.Blob, cause error) error {
	same, err := c.same(ctx, b)
	if err != nil || !same {
		return err
	}
	kind := DamagedBlob
	if errors.Is(cause, blob.ErrNotFound) {
		kind = MissingBlob
	}
	f := blobFinding(b, kind, cause.Error())
	if c.Repair {
		f.Action = "marked: the next push of this layer replaces it"
		err = c.mark(ctx, b, true)
	}
	c.add(f)
	return err
}

func blobFinding(b meta.Blob, kind, detail string) Finding {
	return Finding{Kind: kind, Digest: b.Digest, Location: b.Domain + "/" + b.Location, Detail: detail}
}

// copyOf writes bytes as a fresh copy. When the store cannot keep it, the error
// never reads as if the copy that the bytes come from were wrong.
func (a *Auditor) copyOf(ctx context.Context, spec cold.Spec, from io.Reader) (blob.Copy, error) {
	source := &noting{Reader: cancellable{ctx, from}}
	c, err := cold.Write(ctx, a.Blobs, spec, source)
	if isWrong(err) && source.err == nil && !errors.Is(err, errMismatch) {
		err = fmt.Errorf("write another copy: %s", err)
	}
	return c, err
}

// noting remembers that reading failed.
type noting struct {
	io.Reader
	err error
}

func (n *noting) Read(p []byte) (int, error) {
	k, err := n.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}
