package meta

import "time"

// An AdvisorySet is the advisories of one ecosystem of OSV at one time.
type AdvisorySet struct {
	ID        int64
	Ecosystem string    // without a release
	State     string    // of the constants below
	Source    string    // where they came from, for people
	UpdatedAt time.Time // when the newest of them was changed
	LoadedAt  time.Time // when the set became active, or was begun
	Records   int
}

// States of an AdvisorySet. One of each ecosystem is active at most.
const (
	AdvisoriesLoading = "LOADING"
	AdvisoriesActive  = "ACTIVE"
)

const advisorySetColumns = `id, ecosystem, state, source, updated_at, loaded_at, records`

func scanAdvisorySet(s scanner) (AdvisorySet, error) {
	var (
		v               AdvisorySet
		updated, loaded int64
	)
	err := s.Scan(&v.ID, &v.Ecosystem, &v.State, &v.Source, &updated, &loaded, &v.Records)
	v.UpdatedAt, v.LoadedAt = fromMicros(updated), fromMicros(loaded)
	return v, err
}

// InsertAdvisorySet begins a set that is LOADING and gives its number.
func (tx *Tx) InsertAdvisorySet(v AdvisorySet) (int64, error) {
	return tx.insert(`INSERT INTO advisory_sets (ecosystem, state, source, updated_at, loaded_at, records)
		VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`, v.Ecosystem, AdvisoriesLoading, v.Source, micros(v.UpdatedAt), micros(v.LoadedAt), v.Records)
}

// AdvisorySets lists the sets in a state, by ecosystem.
func (tx *Tx) AdvisorySets(state string) ([]AdvisorySet, error) {
	return list(tx, scanAdvisorySet, `SELECT `+advisorySetColumns+` FROM advisory_sets WHERE state = $1 ORDER BY ecosystem, id`, state)
}

// AdvisorySetIDs are the numbers of sets.
func AdvisorySetIDs(sets []AdvisorySet) []int64 {
	ids := make([]int64, len(sets))
	for i, set := range sets {
		ids[i] = set.ID
	}
	return ids
}

// AdvisorySet finds a set by its number.
func (tx *Tx) AdvisorySet(id int64) (AdvisorySet, error) {
	return get(tx, scanAdvisorySet, `SELECT `+advisorySetColumns+` FROM advisory_sets WHERE id = $1`, id)
}

// PutAdvisory adds what a record says about a package to a set.
func (tx *Tx) PutAdvisory(setID int64, pkg, id string, body []byte) error {
	return tx.exec(`INSERT INTO advisories (set_id, package, id, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (set_id, package, id) DO UPDATE SET body = excluded.body`, setID, pkg, id, body)
}

// ActivateAdvisorySet puts a whole set in place of the one of its ecosystem.
func (tx *Tx) ActivateAdvisorySet(v AdvisorySet) error {
	err := tx.exec(`UPDATE advisory_sets SET state = 'OLD' WHERE ecosystem = $1 AND state = 'ACTIVE'`, v.Ecosystem)
	if err != nil {
		return err
	}
	return tx.one(`UPDATE advisory_sets SET state = 'ACTIVE', updated_at = $2, records = $3, loaded_at = $4 WHERE id = $1`,
		v.ID, micros(v.UpdatedAt), v.Records, micros(v.LoadedAt))
}

// DropAdvisories deletes up to limit advisories of sets that are no longer used,
// and of those that were begun before a time and never finished. It reports
// whether there may be more.
func (tx *Tx) DropAdvisories(begunBefore time.Time, limit int) (more bool, err error) {
	const unused = `SELECT id FROM advisory_sets WHERE state = 'OLD' OR state = 'LOADING' AND loaded_at < $1`
	sets, err := list(tx, scanID, unused+` ORDER BY id LIMIT 1`, micros(begunBefore))
	if err != nil || len(sets) == 0 {
		return false, err
	}
	keys, err := list(tx, scanAdvisoryKey, `SELECT package, id FROM advisories WHERE set_id = $1 ORDER BY package, id LIMIT $2`, sets[0], limit)
	if err != nil {
		return false, err
	}
	for _, k := range keys {
		if err := tx.exec(`DELETE FROM advisories WHERE set_id = $1 AND package = $2 AND id = $3`, sets[0], k[0], k[1]); err != nil {
			return false, err
		}
	}
	if len(keys) < limit {
		err = tx.exec(`DELETE FROM advisory_sets WHERE id = $1`, sets[0])
	}
	return true, err
}

func scanAdvisoryKey(s scanner) (v [2]string, err error) {
	err = s.Scan(&v[0], &v[1])
	return v, err
}

// Advisories reads what the active set of an ecosystem says about a package.
func (tx *Tx) Advisories(k PackageKey) ([][]byte, error) {
	return list(tx, scanBytes, `SELECT a.body FROM advisory_sets s JOIN advisories a ON a.set_id = s.id
		WHERE s.ecosystem = $1 AND s.state = 'ACTIVE' AND a.package = $2 ORDER BY a.id`, k.Ecosystem, k.Package)
}
