package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const quick = 150 * time.Millisecond

// dial opens a connection to a server that loses patience quickly.
func dial(t *testing.T, h http.HandlerFunc) net.Conn {
	t.Helper()
	srv := httptest.NewServer(unstalled(h, quick))
	t.Cleanup(srv.Close)
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the server may have closed it
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c net.Conn, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		t.Fatal(err)
	}
}

func readAll(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		w.WriteHeader(http.StatusRequestTimeout)
		return
	}
	text(w, http.StatusOK, fmt.Sprintf("%d\n", n))
}

func refuse(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusUnauthorized, "no\n") }

// ended fails unless the server answers with the status, or just closes, in time.
func ended(t *testing.T, c net.Conn, status int) {
	t.Helper()
	began := time.Now()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if took := time.Since(began); took > 20*quick {
		t.Fatalf("the server held on for %s (%v)", took, err)
	}
	if err == nil {
		if resp.StatusCode != status {
			t.Errorf("status %d, want %d", resp.StatusCode, status)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStalledBodyIsCut(t *testing.T) {
	c := dial(t, readAll)
	send(t, c, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	ended(t, c, http.StatusRequestTimeout)
}

// A refused request whose body does not come: net/http waits for the rest of a
// small body before it answers. Anybody can send this, without credentials.
func TestStalledBodyOfARefusedRequestIsCut(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"small answer": refuse,
		"large answer": func(w http.ResponseWriter, _ *http.Request) {
			text(w, http.StatusUnauthorized, strings.Repeat("no", 10_000))
		},
		"no body": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"half read": func(w http.ResponseWriter, r *http.Request) {
			if _, err := r.Body.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		for _, framing := range []string{"Content-Length: 100\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"} {
			t.Run(name+" "+framing[:7], func(t *testing.T) {
				c := dial(t, h)
				send(t, c, "PUT / HTTP/1.1\r\nHost: x\r\n%s", framing)
				began := time.Now()
				if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
					t.Error(err)
				}
				if took := time.Since(began); took > 20*quick {
					t.Errorf("the server held on for %s", took)
				}
			})
		}
	}
}

// A client that takes nothing of a large answer.
func TestClientThatDoesNotReadIsCut(t *testing.T) {
	failed := make(chan error, 1)
	c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		var err error
		for range 2000 {
			if _, err = w.Write(make([]byte, 64<<10)); err != nil {
				break
			}
		}
		failed <- err
	})
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case err := <-failed:
		if err == nil {
			t.Error("125 MiB were taken by nobody")
		}
	case <-time.After(8 * time.Second):
		t.Error("the server holds on")
	}
}

// Slow is not stalled: a body may take as long as it needs.
func TestSlowClientIsServed(t *testing.T) {
	c := dial(t, readAll)
	send(t, c, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n")
	for range 8 {
		time.Sleep(quick / 2)
		send(t, c, "x")
	}
	ended(t, c, http.StatusOK)
}

// A slow server is not the client's fault, with a body read or without one.
func TestSlowHandlerIsServed(t *testing.T) {
	for _, body := range []string{"", "x"} {
		c := dial(t, func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Error(err)
			}
			time.Sleep(3 * quick)
			if err := r.Context().Err(); err != nil {
				t.Errorf("the request ended meanwhile: %v", err)
			}
			w.WriteHeader(http.StatusCreated)
		})
		send(t, c, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		ended(t, c, http.StatusCreated)
	}
}

// One request's deadlines do not reach the next one of its connection.
func TestConnectionIsReused(t *testing.T) {
	c := dial(t, readAll)
	r := bufio.NewReader(c)
	for i := range 3 {
		if i > 0 {
			time.Sleep(2 * quick) // idle, longer than a stall may last
		}
		send(t, c, "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
		line, err := r.ReadString('\n')
		if err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("request %d: %q, %v", i, line, err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		send(t, c, "x")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "1\n" {
			t.Fatalf("request %d: %q, %v", i, b, err)
		}
	}
}
