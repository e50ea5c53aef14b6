package ociapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// maxPage is the most that a listing gives at once, and what it gives when the
// request does not say (Amazon ECR; API reference, maxResults).
const maxPage = 1000

// pageSize reads n.
func pageSize(r *request) (int, error) {
	s := r.URL.Query().Get("n")
	if s == "" {
		return maxPage, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case err != nil && !isRange(err):
		return 0, &wireError{http.StatusMethodNotAllowed, "UNSUPPORTED", "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must be an integer'"}
	case err != nil || n > maxPage:
		return 0, &wireError{http.StatusMethodNotAllowed, "UNSUPPORTED", "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to 1000'"}
	}
	return int(n), nil
}

// isRange reports whether a number was well formed but too large.
func isRange(err error) bool {
	var e *strconv.NumError
	return errors.As(err, &e) && e.Err == strconv.ErrRange
}

func getTags(d *Door, w http.ResponseWriter, r *request) error {
	n, err := pageSize(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	tags, more, err := d.Registry.Tags(r.Context(), r.scope, r.name, q.Get("last"), n)
	if err != nil {
		return err
	}
	if more && n > 0 {
		q.Set("last", tags[len(tags)-1])
		setNext(w, r.URL.Path, q)
	}
	if tags == nil {
		tags = []string{}
	}
	return d.sendJSON(w, r, struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{r.name, tags})
}

func getCatalog(d *Door, w http.ResponseWriter, r *request) error {
	n, err := pageSize(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	names, more, err := d.Registry.RepositoryNames(r.Context(), r.scope, q.Get("last"), n)
	if err != nil {
		return err
	}
	if more && n > 0 {
		q.Set("last", names[len(names)-1])
		setNext(w, r.URL.Path, q)
	}
	return d.sendJSON(w, r, struct {
		Repositories []string `json:"repositories"`
	}{names})
}

func (d *Door) sendJSON(w http.ResponseWriter, r *request, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	d.send(w, r.Request, http.StatusOK, "application/json", body)
	return nil
}
