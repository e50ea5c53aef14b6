package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"time"
)

// patience is how long one request may take before it counts as stuck.
const patience = 5 * time.Minute

// A wire is one connection of the load client, used by one goroutine: as much
// HTTP/1.1 as registries on loopback speak, without an allocation in the
// ordinary case. Bodies are read and dropped unless somebody asks for them.
type wire struct {
	addr     string
	conn     net.Conn
	r        *bufio.Reader
	head     []byte // of the request, reused
	reused   bool   // the connection has answered before
	requests int64
}

// A request is sent as it stands.
type request struct {
	method, target string // target: path and query
	headers        string // whole lines, each with its end
	contentType    string
	src            *source // writes body; nil: there is none
	body           blob
	keep           *bytes.Buffer // receives the answer's body; nil: nobody wants it
}

// A response is what of an answer anybody here looks at.
type response struct {
	status         int
	location, link string
	size           int64 // bytes of the body
}

func newWire(addr string) *wire { return &wire{addr: addr} }

func (c *wire) close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn, c.reused = nil, false
	return err
}

// do sends a request and reads the whole answer. A connection that the server
// closed while it was idle is opened anew, once.
func (c *wire) do(ctx context.Context, q request) (response, error) {
	for {
		if c.conn == nil {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.addr)
			if err != nil {
				return response{}, err
			}
			c.conn = conn
			if c.r == nil {
				c.r = bufio.NewReaderSize(conn, 256*kib)
			}
			c.r.Reset(conn)
		}
		retry := c.reused
		resp, began, err := c.exchange(q)
		if err == nil {
			c.reused = c.conn != nil
			c.requests++
			return resp, nil
		}
		err = errors.Join(fmt.Errorf("%s %s: %w", q.method, q.target, err), c.close())
		if !retry || began || ctx.Err() != nil {
			return resp, err
		}
	}
}

// exchange reports besides whether an answer began.
func (c *wire) exchange(q request) (resp response, began bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return resp, false, err
	}
	// A server may refuse without reading all of the body: its answer is worth more than the failed write.
	werr := c.send(q)
	if _, err := c.r.Peek(1); err != nil {
		return resp, false, errors.Join(werr, err)
	}
	resp, last, err := c.receive(q)
	if err == nil && (last || werr != nil) {
		err = c.close()
	}
	return resp, true, err
}

func (c *wire) send(q request) error {
	b := append(c.head[:0], q.method...)
	b = append(append(append(b, ' '), q.target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(append(b, c.addr...), "\r\n"...), q.headers...)
	if q.contentType != "" {
		b = append(append(append(b, "Content-Type: "...), q.contentType...), "\r\n"...)
	}
	if q.src != nil || q.method != "GET" && q.method != "HEAD" {
		b = strconv.AppendInt(append(b, "Content-Length: "...), q.body.size, 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	whole := q.src == nil || q.body.size == int64(len(q.body.end))
	if whole { // small: one packet
		b = append(b, q.body.end...)
	}
	c.head = b
	if _, err := c.conn.Write(b); err != nil || whole {
		return err
	}
	return q.src.write(c.conn, q.body)
}

// receive reports besides whether the connection ends with this answer.
func (c *wire) receive(q request) (resp response, last bool, err error) {
	length, chunked := int64(-1), false
	for resp.status < 200 { // 1xx: the answer is still to come
		if resp.status, err = c.status(); err != nil {
			return resp, true, err
		}
		for {
			name, value, err := c.header()
			if err != nil {
				return resp, true, err
			}
			if name == nil {
				break
			}
			switch {
			case is(name, "content-length"):
				if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
					return resp, true, err
				}
			case is(name, "transfer-encoding"):
				chunked = is(value, "chunked")
			case is(name, "connection"):
				last = is(value, "close")
			case is(name, "location"):
				resp.location = local(string(value))
			case is(name, "link"):
				resp.link = string(value)
			}
		}
	}
	switch {
	case q.method == "HEAD" || resp.status == 204 || resp.status == 304:
	case chunked:
		err = c.chunks(&resp, q.keep)
	case length >= 0:
		resp.size = length
		err = c.take(length, q.keep)
	default:
		last = true
		resp.size, err = io.Copy(keeper(q.keep), c.r)
	}
	return resp, last, err
}

func (c *wire) line() ([]byte, error) {
	l, err := c.r.ReadSlice('\n')
	return bytes.TrimRight(l, "\r\n"), err
}

func (c *wire) status() (int, error) {
	l, err := c.line()
	if err != nil {
		return 0, err
	}
	if len(l) < 12 || !bytes.HasPrefix(l, []byte("HTTP/1.")) {
		return 0, fmt.Errorf("the answer begins with %q", l)
	}
	return strconv.Atoi(string(l[9:12]))
}

// header reads one header; a nil name ends them.
func (c *wire) header() (name, value []byte, err error) {
	l, err := c.line()
	if err != nil || len(l) == 0 {
		return nil, nil, err
	}
	name, value, ok := bytes.Cut(l, []byte(":"))
	if !ok {
		return nil, nil, fmt.Errorf("%q is no header", l)
	}
	return name, bytes.TrimSpace(value), nil
}

func (c *wire) chunks(resp *response, keep *bytes.Buffer) error {
	for {
		l, err := c.line()
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(l, []byte(";"))
		n, err := strconv.ParseInt(string(size), 16, 64)
		if err != nil {
			return err
		}
		resp.size += n
		if err := c.take(n, keep); err != nil {
			return err
		}
		for { // the end of the chunk, or trailers
			l, err := c.line()
			if err != nil {
				return err
			}
			if len(l) == 0 {
				break
			}
		}
		if n == 0 {
			return nil
		}
	}
}

// take reads n bytes of a body.
func (c *wire) take(n int64, keep *bytes.Buffer) error {
	if keep != nil {
		_, err := io.CopyN(keep, c.r, n)
		return err
	}
	for n > 0 {
		d, err := c.r.Discard(int(min(n, 1<<30)))
		if err != nil {
			return err
		}
		n -= int64(d)
	}
	return nil
}

func keeper(keep *bytes.Buffer) io.Writer {
	if keep == nil {
		return io.Discard
	}
	return keep
}

// is compares without regard to case; want is in lower case.
func is(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i := range b {
		if c := b[i]; c != want[i] && (c < 'A' || c > 'Z' || c+'a'-'A' != want[i]) {
			return false
		}
	}
	return true
}

// local is the path and query of a location: registries may give whole URLs.
func local(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return location
	}
	return u.RequestURI()
}
