package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"sync"
)

// cacheKey is what a derived signing key depends on besides the secret.
type cacheKey struct{ accessKeyID, date, region, service string }

type cacheEntry struct {
	secret string
	key    [sha256.Size]byte
}

// keyCache remembers derived signing keys, at most 2*limit of them. Two
// generations stand in for a recency list: what was used since the last turn
// survives the next one. Only keys that verified a signature are put in, so
// that callers without a secret cannot wash it out.
type keyCache struct {
	limit    int
	mu       sync.Mutex
	young    map[cacheKey]cacheEntry
	old      map[cacheKey]cacheEntry
	disabled bool
}

func newKeyCache(limit int) *keyCache {
	return &keyCache{limit: limit, young: map[cacheKey]cacheEntry{}, disabled: limit <= 0}
}

func (c credential) cacheKey() cacheKey {
	return cacheKey{c.accessKeyID, c.date, c.region, c.service}
}

// get returns the signing key derived from this very secret; a rotated secret
// misses.
func (k *keyCache) get(c credential, secret string) ([sha256.Size]byte, bool) {
	id := c.cacheKey()
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.young[id]
	if !ok {
		if e, ok = k.old[id]; !ok {
			return e.key, false
		}
		k.put(id, e)
	}
	if subtle.ConstantTimeCompare([]byte(e.secret), []byte(secret)) != 1 {
		return [sha256.Size]byte{}, false
	}
	return e.key, true
}

func (k *keyCache) add(c credential, secret string, key [sha256.Size]byte) {
	if k.disabled {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.put(c.cacheKey(), cacheEntry{secret: secret, key: key})
}

// put needs the lock.
func (k *keyCache) put(id cacheKey, e cacheEntry) {
	if _, ok := k.young[id]; !ok && len(k.young) >= k.limit {
		k.old, k.young = k.young, make(map[cacheKey]cacheEntry, k.limit)
	}
	k.young[id] = e
}

func (k *keyCache) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.young) + len(k.old)
}
