// Package sealtest makes the keys that tests of other packages seal with.
package sealtest

import (
	"path/filepath"
	"testing"
	"time"

	"berth/internal/kms/keyring"
	"berth/internal/kms/local"
	"berth/internal/meta"
	"berth/internal/seal"
)

// MasterKey is the file of the master key, below the data directory.
const MasterKey = "master.key"

// New makes a ring on a database, with the master key of the data directory,
// which is made when there is none, and the built-in KMS.
func New(t testing.TB, db *meta.DB, dir string, now func() time.Time) (*seal.Ring, *local.KMS) {
	t.Helper()
	master, err := keyring.OpenOrCreate(filepath.Join(dir, MasterKey))
	if err != nil {
		t.Fatal(err)
	}
	keys := local.New(db, master, now, local.Options{})
	return seal.New(db, master, keys, now), keys
}
