package upstream

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"berth/internal/dial"
)

const connectTimeout = 10 * time.Second

func dialer(control dial.Control) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second, Control: control}
	return d.DialContext
}

// A Mapping says where hosts are reached that are not at their own name: base
// URLs, by host in lower case.
type Mapping map[string]*url.URL

// ParseMapping reads mappings of the form HOST=URL. The URL is http or https and
// has a host and nothing behind it.
func ParseMapping(list []string) (Mapping, error) {
	m := Mapping{}
	for _, text := range list {
		host, raw, ok := strings.Cut(text, "=")
		u, err := url.Parse(raw)
		if !ok || host == "" || strings.ContainsAny(host, "/@ ") || err != nil || u.Host == "" || u.User != nil ||
			(u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("the upstream mapping %q is not of the form HOST=URL, such as registry-1.docker.io=https://mirror.example.com", text)
		}
		m[strings.ToLower(host)] = &url.URL{Scheme: u.Scheme, Host: u.Host}
	}
	return m, nil
}
