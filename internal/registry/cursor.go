package registry

import (
	"encoding/json"

	"berth/internal/meta"
)

// Pagination tokens hold the key of the last item sent, so a page never moves
// when items come and go. They are bound to the listing and the registry they
// were made for.

func (r *Registry) sealCursor(purpose string, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return r.cursors.SealCursor(purpose, b)
}

func (r *Registry) openCursor(purpose, cursor string, v any) error {
	b, err := r.cursors.OpenCursor(purpose, cursor)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		e := invalid("NextToken", "Invalid next token provided")
		e.Err = err
		return e
	}
	return nil
}

type nameCursor struct {
	Scope meta.Scope
	After string
}

func (r *Registry) sealNameCursor(listing string, s meta.Scope, after string) (string, error) {
	return r.sealCursor(listing, nameCursor{s, after})
}

// openNameCursor gives the name to start after; no cursor starts at the front.
func (r *Registry) openNameCursor(listing string, s meta.Scope, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	var c nameCursor
	if err := r.openCursor(listing, cursor, &c); err != nil {
		return "", err
	}
	if c.Scope != s {
		return "", invalid("NextToken", "Invalid next token provided")
	}
	return c.After, nil
}

// An imageCursor is a place in a listing of images, or of images and tags.
type imageCursor struct {
	Repository int64
	Image      int64
	Tag        string
}

func (r *Registry) openImageCursor(listing string, repositoryID int64, cursor string) (c imageCursor, err error) {
	if cursor == "" {
		return c, nil
	}
	if err := r.openCursor(listing, cursor, &c); err != nil {
		return c, err
	}
	if c.Repository != repositoryID {
		return c, invalid("NextToken", "Invalid next token provided")
	}
	return c, nil
}
