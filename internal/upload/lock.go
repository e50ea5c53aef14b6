package upload

import (
	"context"
	"sync"
)

// A keyedMutex locks by name: requests of one session take turns, those of
// different sessions never meet.
type keyedMutex struct {
	mu    sync.Mutex
	locks map[string]*refMutex
}

type refMutex struct {
	turn  chan struct{} // holds a value while the lock is taken
	users int           // who has or awaits it
}

// lock waits for the name, as long as ctx lasts, and returns the function that
// frees it.
func (k *keyedMutex) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*refMutex{}
	}
	m := k.locks[name]
	if m == nil {
		m = &refMutex{turn: make(chan struct{}, 1)}
		k.locks[name] = m
	}
	m.users++
	k.mu.Unlock()

	select {
	case m.turn <- struct{}{}:
		return func() {
			<-m.turn
			k.leave(name, m)
		}, nil
	case <-ctx.Done():
		k.leave(name, m)
		return nil, ctx.Err()
	}
}

func (k *keyedMutex) leave(name string, m *refMutex) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m.users--; m.users == 0 {
		delete(k.locks, name)
	}
}

// held reports whether somebody has or awaits the name's lock.
func (k *keyedMutex) held(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.locks[name] != nil
}
