// Package awsjson is what the doors of AWS JSON 1.1 services have in common: how
// an answer and an exception go over the wire.
//
// # Guarantees
//
//   - Every answer has a request id, a length and the protocol's content type.
//   - What is wrong with the server is logged with its cause under the request
//     id, and the client gets the exception without it.
package awsjson

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"berth/internal/ecr"
	"berth/internal/trail"
)

// Serve answers a request with the body that serve gives, which may be empty, or
// with the exception that an error of it stands for.
//
// Source: Smithy, "AWS JSON 1.1 protocol".
func Serve(w http.ResponseWriter, r *http.Request, log *slog.Logger, exception func(error) *ecr.Exception, serve func() ([]byte, error)) {
	trail.RequestID(w)
	body, err := serve()
	status := http.StatusOK
	if err != nil {
		e := exception(err)
		if e.Status >= http.StatusInternalServerError {
			log.Error("request failed", "target", r.Header.Get("X-Amz-Target"), "request_id", w.Header().Get("x-amzn-RequestId"), "err", err, "cause", errors.Unwrap(err))
		}
		if body, err = e.Body(); err != nil {
			log.Error("encode an exception", "err", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if e.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1") // seconds (RFC 9110, section 10.2.3)
		}
		w.Header().Set("x-amzn-ErrorType", e.Type)
		status = e.Status
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		log.Debug("client went away", "remote", r.RemoteAddr, "err", err)
	}
}
