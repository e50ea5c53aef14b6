package meta

import (
	"errors"
	"time"
)

// Claim takes a piece of work for a holder until a time, or renews the holder's
// own claim. It reports whether the holder has it now.
func (tx *Tx) Claim(name, holder string, now, until time.Time) (bool, error) {
	err := tx.one(`INSERT INTO claims (name, holder, expires_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
		WHERE claims.holder = excluded.holder OR claims.expires_at <= $4`, name, holder, micros(until), micros(now))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Release gives a claim back; one that somebody else has by now stays theirs.
func (tx *Tx) Release(name, holder string) error {
	return tx.exec(`DELETE FROM claims WHERE name = $1 AND holder = $2`, name, holder)
}

// Claimed reports whether somebody has a claim now.
func (tx *Tx) Claimed(name string, now time.Time) (bool, error) {
	return get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM claims WHERE name = $1 AND expires_at > $2)`, name, micros(now))
}
