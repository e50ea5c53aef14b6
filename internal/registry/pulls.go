package registry

import (
	"sync"
	"time"
)

// A pullLog gathers pulls until they are written down together.
type pullLog struct {
	mu   sync.Mutex
	seen map[int64]time.Time
}

func newPullLog() *pullLog { return &pullLog{seen: map[int64]time.Time{}} }

func (p *pullLog) note(at time.Time, ids []int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		p.seen[id] = at
	}
}

// take empties the log.
func (p *pullLog) take() map[int64]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) == 0 {
		return nil
	}
	taken := p.seen
	p.seen = make(map[int64]time.Time, len(taken))
	return taken
}

// giveBack returns pulls that could not be written down.
func (p *pullLog) giveBack(pulled map[int64]time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, at := range pulled {
		if _, later := p.seen[id]; !later {
			p.seen[id] = at
		}
	}
}
