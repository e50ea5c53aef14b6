package ociapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"berth/internal/access"
	"berth/internal/access/token"
	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/upload"
)

// A wireError is a refusal that this door makes itself.
type wireError struct {
	status  int
	code    string
	message string
}

func (e *wireError) Error() string { return e.code + ": " + e.message }

// errUnauthorized asks for credentials.
var errUnauthorized = errors.New("no valid credentials")

// errorBody is the error document (distribution-spec, "Error Codes"). ECR's
// error objects have no detail.
type errorBody struct {
	Errors []errorItem `json:"errors"`
}

type errorItem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// wire finds the wire form of an error. What nobody knows is a fault of the
// server, and its text stays in the log.
func wire(err error) *wireError {
	var (
		own     *wireError
		refused *registry.Error
		denied  *access.DeniedError
		client  *upload.ClientError
		large   *http.MaxBytesError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &refused):
		f := refused.Form()
		message := refused.Message
		if refused.Code == registry.ImageNotFound {
			message = "Requested image not found"
		}
		return &wireError{f.OCIStatus, f.OCICode, message}
	case errors.As(err, &denied):
		return &wireError{http.StatusForbidden, "DENIED", denied.Error()}
	case errors.Is(err, token.ErrThrottled):
		return &wireError{http.StatusTooManyRequests, "TOOMANYREQUESTS", "Too many logins have failed from this address; try again in a second"}
	case errors.Is(err, token.ErrExpired):
		return &wireError{http.StatusForbidden, "DENIED", token.ExpiredMessage}
	case errors.As(err, &large):
		return &wireError{http.StatusRequestEntityTooLarge, "SIZE_INVALID", "The request body is larger than the limit of " + strconv.FormatInt(large.Limit, 10) + " bytes"}
	case errors.As(err, &client):
		return &wireError{http.StatusRequestTimeout, "BLOB_UPLOAD_INVALID", "The request body did not arrive whole; the upload can be continued where it stopped"}
	case errors.Is(err, blob.ErrNoSpace), errors.Is(err, meta.ErrNoSpace):
		return &wireError{http.StatusInsufficientStorage, "DENIED", "The registry has no space left"}
	case errors.Is(err, meta.ErrText):
		return &wireError{http.StatusBadRequest, "UNSUPPORTED", "A text of the request is not UTF-8 or has a NUL character"}
	case errors.Is(err, meta.ErrUnavailable):
		return &wireError{http.StatusServiceUnavailable, "UNAVAILABLE", "The registry cannot reach its database now"}
	case errors.Is(err, blob.ErrUnavailable):
		return &wireError{http.StatusServiceUnavailable, "UNAVAILABLE", "The registry cannot reach its blob store now"}
	case errors.Is(err, context.Canceled):
		return &wireError{http.StatusServiceUnavailable, "UNKNOWN", "The request was cancelled"}
	default:
		return &wireError{http.StatusInternalServerError, "UNKNOWN", "The registry met an internal error"}
	}
}

// fail answers with an error.
func (d *Door) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errUnauthorized) {
		d.challenge(w, r)
		return
	}
	e := wire(err)
	if e.status >= http.StatusInternalServerError {
		d.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if e.status == http.StatusServiceUnavailable || e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1") // seconds (RFC 9110, section 10.2.3)
	}
	body, err := json.Marshal(errorBody{[]errorItem{{e.code, e.message}}})
	if err != nil {
		d.Log.Error("encode an error", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	d.send(w, r, e.status, "application/json; charset=utf-8", body)
}

// challenge is ECR's answer to a request without credentials, to the byte.
func (d *Door) challenge(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Www-Authenticate", `Basic realm="`+d.Endpoint(d.Scope(r.Host))+`/",service="ecr.amazonaws.com"`)
	d.send(w, r, http.StatusUnauthorized, "text/plain; charset=utf-8", []byte("Not Authorized\n"))
}

// send writes a whole answer; HEAD gets its headers alone.
func (d *Door) send(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write(body); err != nil {
		d.Log.Debug("client went away", "remote", r.RemoteAddr, "err", err)
	}
}
