package audit

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"berth/internal/blob"
	"berth/internal/blob/cold"
	"berth/internal/blob/file"
	"berth/internal/collect"
	"berth/internal/meta"
)

// BackupOptions say what goes into a backup.
type BackupOptions struct {
	MasterKeys []string // ids, for the manifest
	// MasterKey reads the master key file; nil leaves it out.
	MasterKey func() ([]byte, error)
	Progress  func(step string, done int)
}

// backup is one run.
type backup struct {
	*Auditor
	BackupOptions
	sink  sink
	spool string
	m     Manifest
}

// Backup writes an archive of everything at dest, which must not exist: a
// directory, or a tar file when it ends in .tar. It is the state of one moment
// after the call: garbage collection deletes no bytes until it is done, and
// keys cannot be rotated meanwhile. ErrBusy: another backup or rotation runs.
func (a *Auditor) Backup(ctx context.Context, dest string, o BackupOptions) (Manifest, error) {
	if o.Progress == nil {
		o.Progress = func(string, int) {}
	}
	b := &backup{Auditor: a, BackupOptions: o}
	err := a.underClaim(ctx, collect.BackupClaim, func(ctx context.Context) error {
		return a.underClaim(ctx, keysClaim, func(ctx context.Context) error { return b.run(ctx, dest) })
	})
	if err != nil {
		return Manifest{}, fmt.Errorf("back up to %s: %w", dest, err)
	}
	return b.m, nil
}

func (b *backup) run(ctx context.Context, dest string) (err error) {
	if b.sink, err = newSink(dest); err != nil {
		return err
	}
	if b.spool, err = os.MkdirTemp(filepath.Dir(dest), ".backup-"); err != nil {
		return errors.Join(err, b.sink.discard())
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.spool)) }()
	err = b.write(ctx)
	if err != nil {
		return errors.Join(err, b.sink.discard())
	}
	return b.sink.finish()
}

func (b *backup) write(ctx context.Context) error {
	b.m = Manifest{Format: archiveFormat, Schema: meta.SchemaVersion, CreatedAt: b.Now().UTC(), MasterKeys: b.MasterKeys}
	if err := b.dump(ctx); err != nil {
		return err
	}
	if err := b.copies(ctx); err != nil {
		return err
	}
	for _, t := range b.m.Tables {
		if err := b.take(rowsName(t.Name), filepath.Join(b.spool, t.Name)); err != nil {
			return err
		}
	}
	if b.MasterKey != nil {
		key, err := b.MasterKey()
		if err != nil {
			return err
		}
		b.m.KeySum = sumOf(key)
		if err := put(b.sink, masterKeyName, key); err != nil {
			return err
		}
	}
	var err error
	if b.m.Checksum, err = b.m.sum(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(b.m, "", "  ")
	if err != nil {
		return err
	}
	return put(b.sink, manifestName, append(text, '\n'))
}

// dump writes the rows of one snapshot to files beside the archive: a tar file
// wants their sizes first.
func (b *backup) dump(ctx context.Context) error {
	return b.DB.View(ctx, func(tx *meta.Tx) error {
		for _, t := range meta.Tables(meta.SchemaVersion) {
			at := ArchivedTable{Name: t.Name, Columns: t.Columns}
			f, err := os.OpenFile(filepath.Join(b.spool, t.Name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			h := sha256.New()
			w := bufio.NewWriterSize(io.MultiWriter(f, h), 256<<10)
			err = tx.Dump(t, func(row []byte) error {
				at.Rows++
				_, err := w.Write(append(row, '\n'))
				return err
			})
			if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
				return err
			}
			at.Checksum = hexOf(h)
			b.m.Tables = append(b.m.Tables, at)
			b.Progress("rows of "+t.Name, at.Rows)
		}
		return nil
	})
}

// take moves a spooled file into the archive.
func (b *backup) take(name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w, err := b.sink.create(name, info.Size())
	if err == nil {
		_, err = io.Copy(w, f)
		err = errors.Join(err, w.Close())
	}
	return errors.Join(err, f.Close())
}

// copies takes the bytes of every blob row that the snapshot has.
func (b *backup) copies(ctx context.Context) error {
	spooled := &Archive{root: b.spool}
	list := filepath.Join(b.spool, blobsName)
	f, err := os.OpenFile(list, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	h := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(f, h))
	table := tableNamed("blobs")
	err = spooled.lines(table.Name, func(line []byte) error {
		row, err := table.Row(line)
		if err != nil {
			return err
		}
		if len(row["sealed"].([]byte)) > 0 {
			return nil // its bytes are in the row
		}
		a := archivedBlob{
			Domain: row["domain"].(string), ID: row["location"].(string), DataKey: row["data_key"].(int64), Size: row["size"].(int64),
			Packed: row["packed"].(int64), Cold: row["cold"].(int64) > 0,
		}
		err = b.copy(ctx, &a, row["digest"].(string))
		if isWrong(err) {
			b.m.Missing++
			b.Log.Warn("a blob is damaged and not in the backup: push it again", "digest", row["digest"], "err", err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("copy the blob %s: %w", row["digest"], err)
		}
		b.m.Blobs++
		b.m.Bytes += a.Stored
		b.Progress("blobs", b.m.Blobs)
		text, err := json.Marshal(a)
		if err != nil {
			return err
		}
		_, err = w.Write(append(text, '\n'))
		return err
	})
	if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
		return err
	}
	b.m.BlobSum = hexOf(h)
	return b.take(blobsName, list)
}

func tableNamed(name string) meta.Table {
	for _, t := range meta.Tables(meta.SchemaVersion) {
		if t.Name == name {
			return t
		}
	}
	return meta.Table{Name: name}
}

// copy puts one copy into the archive.
func (b *backup) copy(ctx context.Context, a *archivedBlob, digest string) error {
	store, raw := cold.Route(b.Blobs, a.copy())
	if porter, ok := store.(blob.Porter); ok {
		return b.port(ctx, a, porter, raw)
	}
	return b.seal(ctx, a, digest) // that store does not seal, so the archive must
}

// port takes a copy as it is: by a hard link where that is possible, since
// copies never change.
func (b *backup) port(ctx context.Context, a *archivedBlob, porter blob.Porter, raw blob.Copy) (err error) {
	from, err := porter.Sealed(ctx, raw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	a.Stored = from.Size()
	h := sha256.New()
	var to io.Writer = h
	if !b.sink.link(a.path(), from.Path()) {
		w, err := b.sink.create(a.path(), a.Stored)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.Close()) }()
		to = io.MultiWriter(h, w)
	}
	n, err := io.CopyBuffer(onlyWriter{to}, cancellable{ctx, from}, make([]byte, 1<<20))
	if err == nil && n != a.Stored {
		err = fmt.Errorf("%d bytes came where %d were promised", n, a.Stored)
	}
	a.Checksum = hexOf(h)
	return err
}

// seal takes a copy from a store that gives its bytes as they were pushed, and
// seals them under the data key of their domain. Bytes that have another digest
// are damage.
func (b *backup) seal(ctx context.Context, a *archivedBlob, digest string) (err error) {
	from, err := b.Blobs.Open(ctx, a.copy())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	a.Location, a.ID, a.Stored = a.ID, file.NewID(), file.SealedSize(a.Size)
	a.Packed, a.Cold = 0, false
	if a.DataKey, err = b.Ring.Sealing(ctx, a.Domain); err != nil {
		return err
	}
	w, err := b.sink.create(a.path(), a.Stored)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	sum, h := sha256.New(), sha256.New()
	to, err := file.Seal(ctx, b.Ring, a.copy(), io.MultiWriter(h, w))
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{io.MultiWriter(sum, to)}, cancellable{ctx, from}, make([]byte, 1<<20))
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	if n != a.Size || "sha256:"+hexOf(sum) != digest {
		return fmt.Errorf("%w: the bytes have another digest", blob.ErrDamaged)
	}
	a.Checksum = hexOf(h)
	return nil
}
