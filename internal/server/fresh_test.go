package server_test

import (
	"net"
	"testing"
	"time"

	"berth/internal/server/servertest"
)

// A client that holds a connection without a request must not delay the end.
func TestStopDoesNotWaitForUnusedConnections(t *testing.T) {
	s := servertest.Start(t)
	conn, err := net.Dial("tcp", s.Host)
	if err != nil {
		t.Fatal(err)
	}
	s.CreateRepositories("app") // by now the server has accepted the connection above, too
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.Stop()
	}()
	select {
	case <-stopped:
	case <-time.After(4 * time.Second): // net/http alone waits five
		t.Error("the server waits for a connection that nobody uses")
		<-stopped
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}
