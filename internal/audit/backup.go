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
	sink   sink
	porter blob.Porter
	spool  string
	m      Manifest
}

// Backup writes an archive of everything at dest, which must not exist: a
// directory, or a tar file when it ends in .tar. It is the state of one moment
// after the call: garbage collection deletes no bytes until it is done, and
// keys cannot be rotated meanwhile. ErrBusy: another backup or rotation runs.
func (a *Auditor) Backup(ctx context.Context, dest string, o BackupOptions) (Manifest, error) {
	if o.Progress == nil {
		o.Progress = func(string, int) {}
	}
	porter, ok := a.Blobs.(blob.Porter)
	if !ok {
		return Manifest{}, errors.New("this blob store cannot be backed up by berth: use what its maker offers, after the database")
	}
	b := &backup{Auditor: a, BackupOptions: o, porter: porter}
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
		a := archivedBlob{Domain: row["domain"].(string), ID: row["location"].(string), DataKey: row["data_key"].(int64), Size: row["size"].(int64)}
		err = b.copy(ctx, &a)
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

// copy puts one copy into the archive: a hard link where that is possible,
// since copies never change.
func (b *backup) copy(ctx context.Context, a *archivedBlob) (err error) {
	from, err := b.porter.Sealed(ctx, a.copy())
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

// Setting reads one value of the installation that was backed up; nil: it has none.
func (a *Archive) Setting(name string) (value []byte, err error) {
	table := tableNamed("settings")
	err = a.lines(rowsName(table.Name), func(line []byte) error {
		row, err := table.Row(line)
		if err == nil && row["name"] == name {
			value = row["value"].([]byte)
		}
		return err
	})
	return value, err
}

// MasterKey is the master key file of the archive; nil: it is not in it.
func (a *Archive) MasterKey() ([]byte, error) {
	if a.Manifest.KeySum == "" {
		return nil, nil
	}
	return os.ReadFile(filepath.Join(a.root, masterKeyName))
}

// ErrNotEmpty says that something is there where a backup should be restored.
var ErrNotEmpty = errors.New("the target is not empty: restore into a new data directory and database")

// Restore puts a backup into empty stores: first all bytes, then all rows in
// one transaction. Blobs that were missing when it was made are marked.
func (a *Archive) Restore(ctx context.Context, db *meta.DB, store blob.Store, progress func(string, int)) error {
	porter, ok := store.(blob.Porter)
	if !ok {
		return errors.New("this blob store cannot take a backup of berth")
	}
	tables := meta.Tables(a.Manifest.Schema)
	if tables == nil {
		return fmt.Errorf("the rows have schema version %d and this program knows %d: use the program that made the backup", a.Manifest.Schema, meta.SchemaVersion)
	}
	if err := checkEmpty(ctx, db, store, tables); err != nil {
		return err
	}
	there, done := map[string]bool{}, 0
	err := a.blobs(func(b archivedBlob) error {
		f, err := a.open(b.path())
		if err != nil {
			return err
		}
		err = errors.Join(porter.Import(ctx, b.copy(), cancellable{ctx, f}), f.Close())
		there[b.ID] = true
		done++
		progress("blobs", done)
		return err
	})
	if err != nil {
		return fmt.Errorf("restore the bytes: %w", err)
	}
	return db.Update(ctx, func(tx *meta.Tx) error { return a.load(tx, tables, there) })
}

func (a *Archive) load(tx *meta.Tx, tables []meta.Table, there map[string]bool) error {
	for _, t := range tables {
		var missing []meta.Blob
		err := a.lines(rowsName(t.Name), func(line []byte) error {
			if t.Name == "blobs" {
				row, err := t.Row(line)
				if err != nil {
					return err
				}
				if location := row["location"].(string); !there[location] {
					missing = append(missing, meta.Blob{ID: row["id"].(int64), Location: location})
				}
			}
			return tx.Load(t, line)
		})
		if err != nil {
			return err
		}
		for _, b := range missing {
			if err := tx.MarkVerified(b, a.Manifest.CreatedAt, true); err != nil {
				return err
			}
		}
		if err := tx.Loaded(t); err != nil {
			return err
		}
	}
	return nil
}

var errSome = errors.New("there is something")

func checkEmpty(ctx context.Context, db *meta.DB, store blob.Store, tables []meta.Table) error {
	err := db.View(ctx, func(tx *meta.Tx) error {
		for _, t := range tables {
			if empty, err := tx.IsEmpty(t); err != nil {
				return err
			} else if !empty {
				return fmt.Errorf("%w (the table %s has rows)", ErrNotEmpty, t.Name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	lister, ok := store.(blob.Lister)
	if !ok {
		return nil
	}
	err = lister.List(ctx, func(blob.Object) error { return errSome })
	if errors.Is(err, errSome) {
		return fmt.Errorf("%w (the blob store has bytes)", ErrNotEmpty)
	}
	return err
}
