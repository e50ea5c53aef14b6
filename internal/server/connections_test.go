package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"berth/internal/server"
	"berth/internal/server/servertest"
)

func connect(t *testing.T, s *servertest.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the server may have closed it
	return c
}

// answers tells whether a request on a connection is answered within a time.
func answers(t *testing.T, c net.Conn, within time.Duration) bool {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") // the answer tells
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// However many connections there are, the server works on so many; others get
// their turn when one of those ends.
func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	s := servertest.StartWith(t, server.Config{Data: t.TempDir(), MaxConnections: 2})
	first, second := connect(t, s), connect(t, s)
	if !answers(t, first, 10*time.Second) || !answers(t, second, 10*time.Second) {
		t.Fatal("two connections are not served")
	}
	third := connect(t, s)
	if answers(t, third, 300*time.Millisecond) {
		t.Error("a third connection is served")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if fourth := connect(t, s); !answers(t, fourth, 10*time.Second) && !answers(t, third, 10*time.Second) {
		t.Error("nobody gets the place of one that ended")
	}
}

// Slowloris: a client whose request never ends holds its connection for as long
// as headers may take, and no longer.
func TestDrippedHeadersAreCut(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	c := connect(t, s)
	began := time.Now()
	if err := c.SetReadDeadline(began.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, c)
		ended <- err
	}()
	_, err := fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Drip: ")
	for err == nil {
		select {
		case err := <-ended:
			if took := time.Since(began); err != nil && took > 50*time.Second {
				t.Errorf("the connection was open for %s: %v", took, err)
			}
			return
		case <-time.After(200 * time.Millisecond):
			_, err = fmt.Fprint(c, "x")
		}
	}
	if took := time.Since(began); took > 50*time.Second {
		t.Errorf("the connection was open for %s", took)
	}
}
