package meta

import "sync"

// maxKept bounds what one [Kept] holds.
const maxKept = 10_000

// Kept keeps what was worked out from rows that decide who may do what (access
// keys, principals, policies), so that a request need not read them again. It is
// given up as soon as any of these rows changes, so that a change counts from the
// next request on, and nothing is kept where other servers may change them too.
// The zero value is empty and ready; it may be used from several goroutines.
type Kept[V any] struct {
	mu      sync.RWMutex
	version uint64
	known   map[string]V
}

// Get gives what is kept for a key, else what read finds. Errors are not kept.
func (k *Kept[V]) Get(db *DB, key string, read func() (V, error)) (V, error) {
	version, sole := db.KeysVersion() // before the read: a change after it shows next time
	if !sole {
		return read()
	}
	k.mu.RLock()
	v, ok := k.known[key]
	ok = ok && k.version == version
	k.mu.RUnlock()
	if ok {
		return v, nil
	}
	v, err := read()
	if err != nil {
		return v, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.known != nil && k.version > version: // a later reader knows more
		return v, nil
	case k.known == nil || k.version < version || len(k.known) >= maxKept:
		k.version, k.known = version, map[string]V{}
	}
	k.known[key] = v
	return v, nil
}
