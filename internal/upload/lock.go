package upload

import "sync"

// A keyedMutex locks by name: requests of one session take turns, those of
// different sessions never meet.
type keyedMutex struct {
	mu    sync.Mutex
	locks map[string]*refMutex
}

type refMutex struct {
	sync.Mutex
	users int
}

// lock waits for the name and returns the function that frees it.
func (k *keyedMutex) lock(name string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*refMutex{}
	}
	m := k.locks[name]
	if m == nil {
		m = &refMutex{}
		k.locks[name] = m
	}
	m.users++
	k.mu.Unlock()

	m.Lock()
	return func() {
		m.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if m.users--; m.users == 0 {
			delete(k.locks, name)
		}
	}
}

// held reports whether somebody has or awaits the name's lock.
func (k *keyedMutex) held(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.locks[name] != nil
}
