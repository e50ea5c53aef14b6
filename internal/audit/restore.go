package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"berth/internal/blob"
	"berth/internal/blob/cold"
	"berth/internal/blob/file"
	"berth/internal/meta"
)

// MasterKey is the master key file of the archive; nil: it is not in it.
func (a *Archive) MasterKey() ([]byte, error) {
	if a.Manifest.KeySum == "" {
		return nil, nil
	}
	return os.ReadFile(filepath.Join(a.root, masterKeyName))
}

// ErrNotEmpty says that something is there where a backup should be restored.
var ErrNotEmpty = errors.New("the target is not empty: restore into a new data directory and database")

// Keys loads what opens the archived copies into a database of its own: data
// keys, what wraps them, and the settings of the installation.
func (a *Archive) Keys(ctx context.Context, db *meta.DB) error {
	return db.Update(ctx, func(tx *meta.Tx) error {
		for _, t := range meta.Tables(a.Manifest.Schema) {
			switch t.Name {
			case "settings", "data_keys", "kms_keys", "kms_key_versions", "kms_aliases":
			default:
				continue
			}
			err := a.lines(rowsName(t.Name), func(line []byte) error { return tx.Load(t, line) })
			if err = errors.Join(err, tx.Loaded(t)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Restore puts a backup into empty stores: first all bytes, then all rows in
// one transaction. Blobs that were missing when it was made are marked. A store
// that does not seal gets the bytes as they were pushed, opened by keys.
func (a *Archive) Restore(ctx context.Context, db *meta.DB, store blob.Store, keys file.Keys, progress func(string, int)) error {
	tables := meta.Tables(a.Manifest.Schema)
	if tables == nil {
		return fmt.Errorf("the rows have schema version %d and this program knows %d: use the program that made the backup", a.Manifest.Schema, meta.SchemaVersion)
	}
	if err := checkEmpty(ctx, db, store, tables); err != nil {
		return err
	}
	there, done := map[string]blob.Copy{}, 0
	err := a.blobs(func(b archivedBlob) error {
		f, err := a.open(b.path())
		if err != nil {
			return err
		}
		c, err := place(ctx, store, keys, b.copy(), cancellable{ctx, f})
		there[b.location()] = c
		done++
		progress("blobs", done)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		return fmt.Errorf("restore the bytes: %w", err)
	}
	return db.Update(ctx, func(tx *meta.Tx) error { return a.load(tx, tables, there) })
}

// place stores an archived copy, and gives the copy that it is there. What lay in
// a second store goes to the main one where there is no other.
func place(ctx context.Context, stores blob.Store, keys file.Keys, c blob.Copy, sealed io.Reader) (blob.Copy, error) {
	c.Cold = c.Cold && cold.HasSecond(stores)
	store, raw := cold.Route(stores, c)
	if porter, ok := store.(blob.Porter); ok {
		return c, porter.Import(ctx, raw, sealed)
	}
	there, err := appendTo(ctx, store, keys, raw, sealed)
	c.ID, c.DataKey = there.ID, there.DataKey
	return c, err
}

// appendTo stores a copy in a store that does not seal.
func appendTo(ctx context.Context, store blob.Store, keys file.Keys, c blob.Copy, sealed io.Reader) (blob.Copy, error) {
	from, err := file.Unseal(ctx, keys, c, sealed)
	if err != nil {
		return blob.Copy{}, err
	}
	to, err := store.Append(ctx, blob.Stage{ID: file.NewID(), Domain: c.Domain})
	if err != nil {
		return blob.Copy{}, err
	}
	_, err = io.CopyBuffer(onlyWriter{to}, from, make([]byte, 1<<20))
	stage, closing := to.Close()
	if err = errors.Join(err, closing); err != nil {
		return blob.Copy{}, errors.Join(err, store.Discard(ctx, stage))
	}
	return store.Commit(ctx, stage)
}

// load inserts the rows. Those of blobs name the copies that are there now.
func (a *Archive) load(tx *meta.Tx, tables []meta.Table, there map[string]blob.Copy) error {
	for _, t := range tables {
		var missing []meta.Blob
		err := a.lines(rowsName(t.Name), func(line []byte) error {
			row, err := t.Row(line)
			if err != nil {
				return err
			}
			if sealed, _ := row["sealed"].([]byte); t.Name == "blobs" && len(sealed) == 0 {
				location := row["location"].(string)
				if c, ok := there[location]; ok {
					row["location"], row["data_key"] = c.ID, c.DataKey
					row["packed"], row["cold"] = c.Packed, flag(c.Cold)
				} else {
					row["packed"], row["cold"] = int64(0), int64(0)
					missing = append(missing, meta.Blob{ID: row["id"].(int64), Location: location})
				}
			}
			return tx.LoadRow(t, row)
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

// flag is a truth value as rows of a backup have it.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
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
