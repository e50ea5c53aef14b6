package server

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"berth/internal/secretsapi"
)

type doors struct{ ecr, kms, secrets, oci, iam http.Handler }

// handler sends each request to its door. Paths are looked at as they are: a
// router that cleans them would redirect what must be refused.
func (s *Server) handler(d doors) http.Handler {
	m := newMetrics(s.trail)
	m.registry.MustRegister(newCacheMetrics(s.cache), newMoveMetrics(s.storage.DB, s.mover, s.log))
	m.registry.MustRegister(eventCounters(s.events.Counts())...)
	metrics := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	route := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		// Nothing here is a page: what is pushed must not become one in a browser
		// (OWASP, "REST Security Cheat Sheet", security headers).
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
		switch {
		case path == "/v2" || strings.HasPrefix(path, "/v2/"):
			m.serve("oci", d.oci, w, r)
		case path == "/" && r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("X-Amz-Target"), "TrentService."):
			m.serve("kms", d.kms, w, r)
		case path == "/" && r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("X-Amz-Target"), secretsapi.TargetPrefix):
			m.serve("secretsmanager", d.secrets, w, r)
		case path == "/" && r.Method == http.MethodPost && r.Header.Get("X-Amz-Target") != "":
			m.serve("ecr", d.ecr, w, r)
		case path == "/" && r.Method == http.MethodPost:
			m.serve("iam", d.iam, w, r)
		case path == "/healthz":
			text(w, http.StatusOK, "ok\n")
		case path == "/readyz":
			s.ready(w, r)
		case path == "/metrics":
			metrics.ServeHTTP(w, r)
		default:
			text(w, http.StatusNotFound, "not found\n")
		}
	})
	return s.recovered(unstalled(route, stallTimeout))
}

func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // a prober that went away needs no answer
}

// ready reports whether the stores can be reached.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if err := s.registry.Check(r.Context()); err != nil {
		s.log.Error("not ready", "err", err)
		text(w, http.StatusServiceUnavailable, "not ready: a store cannot be reached, the log says which\n")
		return
	}
	text(w, http.StatusOK, "ok\n")
}

// recovered keeps one request's panic from ending the server.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p) // net/http's own way to cut a connection
			default:
				s.log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", p)
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
