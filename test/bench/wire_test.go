package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
)

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

type teeWriter struct{ a, b io.Writer }

func (t teeWriter) Write(b []byte) (int, error) {
	if n, err := t.a.Write(b); err != nil {
		return n, err
	}
	return t.b.Write(b)
}

// replies answers each request of each connection with the texts in turn. An
// empty text closes the connection without an answer.
func replies(t *testing.T, texts ...string) (addr string, requests *[]string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	requests = &[]string{}
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			for r := bufio.NewReader(conn); ; {
				req, err := http.ReadRequest(r)
				if err != nil {
					break
				}
				body, _ := io.ReadAll(req.Body)
				*requests = append(*requests, req.Method+" "+req.RequestURI+" "+string(body))
				text := texts[0]
				texts = texts[1:]
				if _, err := io.WriteString(conn, text); err != nil || text == "" || len(texts) == 0 {
					break
				}
			}
			_ = conn.Close()
			if len(texts) == 0 {
				return
			}
		}
	}()
	return l.Addr().String(), requests
}

func TestWireReadsAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		method, text, body string
		want               response
	}{
		"length":   {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc", response{status: 200, size: 3}},
		"headers":  {"POST", "HTTP/1.1 202 Accepted\r\nlocation: http://h:1/v2/x?a=b\r\nLINK: </p>; rel=next\r\nContent-Length: 0\r\n\r\n", "", response{status: 202, location: "/v2/x?a=b", link: "</p>; rel=next"}},
		"chunks":   {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nTrailer: x\r\n\r\n", "abc", response{status: 200, size: 3}},
		"head":     {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n", "", response{status: 200}},
		"continue": {"GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "", response{status: 204}},
		"the end":  {"GET", "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nabc", "abc", response{status: 404, size: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := replies(t, c.text)
			w := newWire(addr)
			var keep bytes.Buffer
			got, err := w.do(t.Context(), request{method: c.method, target: "/x", keep: &keep})
			if err != nil || got != c.want || keep.String() != c.body {
				t.Errorf("got %+v %q, %v", got, &keep, err)
			}
			if err := w.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWireConnectsAgain: a server may close a connection while it is idle. That
// is no failure of the request, unless the new connection fails as well.
func TestWireConnectsAgain(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	addr, requests := replies(t, ok, "", ok, "", "")
	w := newWire(addr)
	s := newSource()
	for range 2 {
		if _, err := w.do(t.Context(), request{method: "PUT", target: "/x", src: s, body: wrap([]byte("body"))}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.do(t.Context(), request{method: "GET", target: "/y"}); err == nil {
		t.Error("no answer on two connections is taken for one")
	}
	if w.requests != 2 || len(*requests) != 5 || (*requests)[2] != "PUT /x body" {
		t.Errorf("%d answers, requests %q", w.requests, *requests)
	}
}

func TestWireRefusesNonsense(t *testing.T) {
	for _, text := range []string{
		"SSH-2.0-x\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
	} {
		addr, _ := replies(t, text)
		w := newWire(addr)
		if _, err := w.do(t.Context(), request{method: "GET", target: "/"}); err == nil {
			t.Errorf("%q is taken for an answer", text)
		}
	}
}
