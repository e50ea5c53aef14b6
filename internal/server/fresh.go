package server

import (
	"net"
	"net/http"
	"sync"
)

// freshConns knows the connections on which no request has begun. Clients
// open some to spare; net/http waits five seconds for each when it shuts down
// (http.Server.Shutdown), which nobody is served by.
type freshConns struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	ended bool
}

// note is the http.Server's ConnState hook.
func (f *freshConns) note(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if state != http.StateNew {
		delete(f.conns, c)
		return
	}
	if f.ended {
		_ = c.Close() // it came as the listener closed; its client will find that out anyway
		return
	}
	if f.conns == nil {
		f.conns = map[net.Conn]struct{}{}
	}
	f.conns[c] = struct{}{}
}

// end closes them all, and those that still come.
func (f *freshConns) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for c := range f.conns {
		_ = c.Close() // nothing was sent or received
	}
}
